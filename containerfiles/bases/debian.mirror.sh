# Sources of packages for the time of the build: run by mmdebstrap as its setup-hook, on the host's side, $1 being
# the root, $LINES the lines of sources.list, $SUITE the release. The distribution's own sources, which mmdebstrap
# has just written, wait in sources.distribution until the last step of a build puts them back.
# shellcheck shell=sh
set -eu
root=$1
cd "$root" # find(1) goes back to where it was called, which may be a home that the mapped root may not enter
kept=$root/etc/apt/sources.distribution
mkdir -p "$kept/sources.list.d" "$root/usr/lib/dibo/finalise.d"
[ ! -e "$root/etc/apt/sources.list" ] || mv "$root/etc/apt/sources.list" "$kept/"
find "$root/etc/apt/sources.list.d" -type f -exec mv {} "$kept/sources.list.d/" \;

# mmdebstrap names a keyring where this machine's apt does not know the keys of the release; so do these lines.
own=$(find "$kept" -type f -exec cat {} +)
signed=$(printf '%s\n' "$own" | sed -n 's/^deb .*\[.*\(signed-by=[^] ]*\).*/\1 /p' | head -n 1)
# Keys of an archive of the user's own were put into the root before.
[ ! -e "$root/etc/apt/trusted.gpg.d/dibo-archive.gpg" ] || signed="signed-by=/etc/apt/trusted.gpg.d/dibo-archive.gpg "
{
    printf '%s\n' "$LINES" | sed "s|^deb \[|deb [$signed|"
    [ -z "${SECURITY:-}" ] || printf '%s\n' "$own" | grep "^deb .* $SUITE-security " || true
} > "$root/etc/apt/sources.list"

cat > "$root/usr/lib/dibo/finalise.d/00-sources" << 'END'
#!/bin/sh
set -e
rm /etc/apt/sources.list
rm -f /etc/apt/trusted.gpg.d/dibo-archive.gpg
cp -R /etc/apt/sources.distribution/. /etc/apt/
rm -r /etc/apt/sources.distribution
END
chmod 755 "$root/usr/lib/dibo/finalise.d/00-sources"

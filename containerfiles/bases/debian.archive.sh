# Packages that were chosen before the build: run by mmdebstrap as its last setup-hook, on the host's side, $1 being the
# root. $DIBO_ARCHIVE is a directory with an archive of these packages alone, whose files dibo has checked; the sources
# wait in sources.later until the base is done (debian.customize.sh).
# shellcheck shell=sh
set -eu
root=$1
cd "$root" # find(1) goes back to where it was called, which may be a home that the mapped root may not enter
kept=$root/etc/apt/sources.later
mkdir -p "$kept/sources.list.d"
[ ! -e "$root/etc/apt/sources.list" ] || mv "$root/etc/apt/sources.list" "$kept/"
find "$root/etc/apt/sources.list.d" -type f -exec mv {} "$kept/sources.list.d/" \;
printf 'deb [trusted=yes] copy://%s ./\n' "$DIBO_ARCHIVE" > "$root/etc/apt/sources.list"

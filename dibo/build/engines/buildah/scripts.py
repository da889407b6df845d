"""The shell scripts that the buildah engine runs inside its namespace.

Each gets its parameters as arguments; nothing is ever pasted into a script. `--label=…` arguments come as they are.
A mount made here dies with the namespace; it is taken down all the same, so that the store's count is right.
"""

from __future__ import annotations

from typing import Final

_COMMIT_IMPORT: Final = """
chmod 755 "$root"
# The link that systemd-resolved wants: while steps run, the engine mounts the host's file over where it leads.
if [ -x "$root/usr/lib/systemd/systemd-resolved" ] && [ ! -L "$root/etc/resolv.conf" ]; then
    rm -f "$root/etc/resolv.conf"
    ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
fi
buildah umount "$container" > /dev/null
[ $# = 0 ] || buildah config "$@" "$container"
buildah commit --quiet --rm "$container" "$image" > /dev/null
"""

# container image FILE labels…; device nodes cannot be made in a user namespace, and /dev is never theirs
IMPORT_SQUASHFS: Final = f"""set -eu
container=$1 image=$2 file=$3; shift 3
buildah from --name "$container" scratch > /dev/null
root=$(buildah mount "$container")
unsquashfs -no-progress -force -dest "$root" -excludes "$file" 'dev/*'
mkdir -p "$root/dev"
{_COMMIT_IMPORT}"""

# container image REFERENCE --tls-verify=… labels…
IMPORT_IMAGE: Final = f"""set -eu
container=$1 image=$2 reference=$3 verify=$4; shift 4
buildah from --quiet "$verify" --name "$container" "$reference" > /dev/null
root=$(buildah mount "$container")
{_COMMIT_IMPORT}"""

# container PARENT image FAILED count-of-labels labels… options… -- command…
# A hook's failure is exit code 100, so that it is told from buildah's own; its code goes out as a mark.
# buildah makes the files that it mounts over where the root has none, and leaves them, empty; they are no part of a
# layer, unless a hook put something there.
STEP: Final = r"""set -eu
container=$1 parent=$2 image=$3 failed=$4 count=$5; shift 5
labels=("${@:1:count}"); shift "$count"
buildah from --pull-never --name "$container" "$parent" > /dev/null
buildah config "${labels[@]}" "$container"
root=$(buildah mount "$container")
missing=()
stub=$root/run/systemd/resolve # where the link of systemd-resolved leads
for file in "$root"/etc/{hostname,hosts,resolv.conf} "$stub/stub-resolv.conf"; do
    [ -e "$file" ] || [ -L "$file" ] || missing+=("$file")
done
for directory in "$stub" "$root/run/systemd" "$root/run/secrets"; do
    [ -e "$directory" ] || missing+=("$directory")
done
options=()
while [ "$1" != -- ]; do options+=("$1"); shift; done
shift
code=0
buildah run "${options[@]}" "$container" -- "$@" || code=$?
for file in "${missing[@]}"; do
    if [ -d "$file" ]; then rmdir "$file" 2> /dev/null || true; elif [ ! -s "$file" ]; then rm -f "$file"; fi
done
buildah umount "$container" > /dev/null
if [ $code != 0 ]; then
    printf '\036failed %s\n' $code
    buildah commit --quiet --rm "$container" "$failed" > /dev/null
    exit 100
fi
buildah commit --quiet --rm "$container" "$image" > /dev/null
"""

# container image: a throw-away copy to read from. /run and /tmp are mounted over in a running machine, so what the
# engine left there (mount points) is not part of the tree.
PREPARE_ROOT: Final = """set -eu
container=$1 image=$2
buildah from --pull-never --name "$container" "$image" > /dev/null
root=$(buildah mount "$container")
find "$root/run" "$root/tmp" -mindepth 1 -delete
rm -f "$root/.dockerenv" "$root/run/.containerenv"
if [ -f "$root/etc/resolv.conf" ] && [ ! -L "$root/etc/resolv.conf" ] && \
    [ -e "$root/etc/systemd/system/dbus-org.freedesktop.resolve1.service" ]; then
    ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
fi
chmod 755 "$root"
buildah umount "$container" > /dev/null
"""

# container command…
IN_ROOT: Final = """set -eu
container=$1; shift
ROOT=$(buildah mount "$container")
export ROOT
code=0
"$@" || code=$?
buildah umount "$container" > /dev/null
exit $code
"""

# container image tty-or-empty options… -- command…
SHELL: Final = r"""set -eu
container=$1 image=$2; shift 2
buildah from --pull-never --name "$container" "$image" > /dev/null
options=()
while [ "$1" != -- ]; do options+=("$1"); shift; done
shift
code=0
buildah run "${options[@]}" "$container" -- "$@" || code=$?
buildah rm "$container" > /dev/null
exit $code
"""

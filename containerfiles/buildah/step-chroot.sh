#!/bin/bash
# One step as buildah itself runs it, which keeps nothing from the machine: --isolation chroot.
#
#   step-chroot.sh CONTAINER PARENT IMAGE FAILED NETWORK option… -- label… -- command…
#
# A hook's failure is exit code 100, so that it is told from buildah's own; its code goes out as a mark. buildah makes the
# files that it mounts over where the root has none, and leaves them, empty; they are no part of a layer, unless a hook
# put something there.
set -eu
# shellcheck source=containerfiles/buildah/lib.sh
. "$(dirname "$0")/lib.sh"
container=$1 parent=$2 image=$3 failed=$4
without_network=()
[ "$5" = host ] || without_network=(unshare --net --)
shift 5
options=() labels=()
while [ "$1" != -- ]; do
    options+=("$1")
    shift
done
shift
while [ "$1" != -- ]; do
    labels+=("$1")
    shift
done
shift
buildah from --pull-never --name "$container" "$parent" > /dev/null
buildah config "${labels[@]}" "$container"
mount_root "$container"
missing=()
for path in /etc/hostname /etc/hosts /etc/resolv.conf /run/systemd/resolve/stub-resolv.conf /run/systemd/resolve \
    /run/systemd /run/secrets; do
    within "${path%/*}" || continue
    path=$REPLY/${path##*/}
    [ -e "$path" ] || [ -L "$path" ] || missing+=("$path")
done
code=0
"${without_network[@]}" buildah run "${options[@]}" "$container" -- "$@" || code=$?
for path in "${missing[@]}"; do
    if [ -L "$path" ]; then continue; fi
    if [ -d "$path" ]; then rmdir "$path" 2> /dev/null || true; elif [ ! -s "$path" ]; then rm -f "$path"; fi
done
commit_step

#!/bin/bash
# A throw-away copy to read from: prepare-root.sh CONTAINER IMAGE
# /run and /tmp are mounted over in a running machine, so what the engine left there (mount points) is not part of the
# tree.
set -eu
# shellcheck source=containerfiles/buildah/lib.sh
. "$(dirname "$0")/lib.sh"
container=$1
buildah from --pull-never --name "$container" "$2" > /dev/null
mount_root "$container"
for directory in "$root/run" "$root/tmp"; do
    [ -L "$directory" ] || [ ! -d "$directory" ] || find "$directory" -mindepth 1 -delete
done
rm -f "$root/.dockerenv"
chmod 755 "$root"
buildah umount "$container" > /dev/null

#!/bin/bash
# A squashfs becomes the first layer: import-squashfs.sh CONTAINER IMAGE FILE label…
# Device nodes cannot be made in a user namespace, and /dev is never theirs.
set -eu
# shellcheck source=containerfiles/buildah/lib.sh
. "$(dirname "$0")/lib.sh"
container=$1 image=$2 file=$3
shift 3
buildah from --name "$container" scratch > /dev/null
mount_root "$container"
unsquashfs -no-progress -force -dest "$root" -excludes "$file" 'dev/*'
[ -L "$root/dev" ] || mkdir -p "$root/dev"
commit_import "$@"

#!/bin/bash
# Run a command of the host that finds the tree at $ROOT: in-root.sh CONTAINER command…
set -eu
# shellcheck source=containerfiles/buildah/lib.sh
. "$(dirname "$0")/lib.sh"
container=$1
shift
mount_root "$container"
export ROOT=$root
code=0
"$@" || code=$?
buildah umount "$container" > /dev/null
exit $code

#!/bin/bash
# A command on the user's own terminal, in a throw-away copy, in the sandbox: shell.sh CONTAINER IMAGE DIRECTORY command…
set -eu
# shellcheck source=containerfiles/buildah/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=containerfiles/buildah/sandbox.sh
. "$(dirname "$0")/sandbox.sh"
container=$1 image=$2 directory=$3
shift 3
buildah from --pull-never --name "$container" "$image" > /dev/null
mount_root "$container"
require_mount_points || exit 101
put_resolv_conf
code=0
(enter_sandbox "$@") || code=$?
buildah umount "$container" > /dev/null
buildah rm "$container" > /dev/null
grep -q exit-code "$directory/status" || exit 101
exit $code

#!/bin/bash
# One step of elements that runs outside of the image, on its tree: from, config, run, commit.
#
#   outside.sh CONTAINER PARENT IMAGE FAILED DIRECTORY label… -- command…
#
# A hook's failure is exit code 100, so that it is told from buildah's own; its code goes out as a mark. 101: the
# sandbox could not be had.
# shellcheck disable=SC2034 # for the scripts that it sources
set -eu
# shellcheck source=containerfiles/buildah/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=containerfiles/buildah/sandbox.sh
. "$(dirname "$0")/sandbox.sh"
container=$1 parent=$2 image=$3 failed=$4 directory=$5
shift 5
labels=()
while [ "$1" != -- ]; do
    labels+=("$1")
    shift
done
shift
buildah from --pull-never --name "$container" "$parent" > /dev/null
buildah config "${labels[@]}" "$container"
mount_root "$container"
place=/build.dib/mnt
require_mount_points || exit 101
put_resolv_conf
run_in_sandbox "$@" || exit 101
remove_made
take_resolv_conf
commit_step

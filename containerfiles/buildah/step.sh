#!/bin/bash
# One step in the sandbox: from, config, run, commit.
#
#   step.sh CONTAINER PARENT IMAGE FAILED DIRECTORY label… -- command…
#
# A hook's failure is exit code 100, so that it is told from buildah's own; its code goes out as a mark. 101: the
# sandbox could not be had.
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
stage from
buildah from --pull-never --name "$container" "$parent" > /dev/null
stage mount
mount_root "$container"
buildah config "${labels[@]}" "$container" & # meanwhile
configuring=$!
require_mount_points || exit 101
put_resolv_conf
stage sandbox
run_in_sandbox "$@" || exit 101
remove_made
take_resolv_conf
wait "$configuring"
commit_step

#!/bin/bash
# The same as buildah itself runs it: shell-chroot.sh CONTAINER IMAGE option… -- command…
set -eu
container=$1 image=$2
shift 2
buildah from --pull-never --name "$container" "$image" > /dev/null
options=()
while [ "$1" != -- ]; do
    options+=("$1")
    shift
done
shift
code=0
buildah run "${options[@]}" "$container" -- "$@" || code=$?
buildah rm "$container" > /dev/null
exit $code

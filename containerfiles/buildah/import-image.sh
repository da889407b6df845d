#!/bin/bash
# An image becomes the first layer: import-image.sh CONTAINER IMAGE REFERENCE --tls-verify=… label…
set -eu
# shellcheck source=containerfiles/buildah/lib.sh
. "$(dirname "$0")/lib.sh"
container=$1 image=$2 reference=$3 verify=$4
shift 4
buildah from --quiet "$verify" --name "$container" "$reference" > /dev/null
mount_root "$container"
commit_import "$@"

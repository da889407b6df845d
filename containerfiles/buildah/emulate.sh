#!/bin/bash
# Run a command in a user namespace that has programs of another architecture run by an emulator:
#
#   emulate.sh REGISTRATION command…
#
# REGISTRATION is a line for binfmt_misc. A kernel that has one for each user namespace (6.7) forgets it with the
# namespace; an older one refuses the mount. Where it is mounted does not matter.
set -eu
registration=$1
shift
place=$TMPDIR/binfmt_misc
mkdir -p "$place"
mount -t binfmt_misc binfmt_misc "$place"
printf %s "$registration" > "$place/register"
exec "$@"

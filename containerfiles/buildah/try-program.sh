#!/bin/bash
# Run a PROGRAM in a root that has nothing else: try-program.sh PROGRAM
set -eu
place=$TMPDIR/root
mkdir -p "$place"
mount -t tmpfs tmpfs "$place"
cp "$1" "$place/program"
chmod 755 "$place/program"
exec unshare --root="$place" /program

#!/bin/bash
# What changes the tree at $ROOT, or reads a part of it, before a program makes a file system of it:
#
#   in-tree.sh empty DIRECTORY           what is in it goes
#   in-tree.sh write FILE TEXT           where its directory is there; a link, or anything but a file, is replaced
#   in-tree.sh at DIRECTORY command…     run the command, with the directory's path on the host as last argument
#
# Paths begin with `/`. The tree is the work of others: a link on the way would lead to files of the host, so it fails
# with a word on stderr.
set -eu
# shellcheck source=containerfiles/buildah/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC2153 # in-root.sh sets it
root=$ROOT operation=$1 path=${2%/}
shift 2

# Fail where PATH below $root is a link or has one on the way.
require_no_link() {
    within "$1" && [ "$REPLY" = "$root$1" ] && return 0
    echo "a symbolic link is on the way to it" >&2
    exit 1
}

case $operation in
    empty)
        require_no_link "$path"
        [ ! -d "$root$path" ] || find "$root$path" -mindepth 1 -delete
        ;;
    write)
        require_no_link "${path%/*}"
        [ -d "$root${path%/*}" ] || exit 0
        if [ -L "$root$path" ] || [ ! -f "$root$path" ]; then
            rm -f "$root$path"
            umask 022
        fi
        printf %s "$1" > "$root$path"
        ;;
    at)
        require_no_link "$path"
        exec "$@" "$root$path"
        ;;
esac

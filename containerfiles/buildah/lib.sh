# What the scripts of the buildah engine share. They run in bash, inside the engine's namespace, where the tree of a
# container is mounted at $root. Nothing in that tree is trusted: its links are followed within it (`within`), never
# by the host's own look-up of names.
# shellcheck shell=bash disable=SC2034,SC2154 # variables of whoever sources this

# Where PATH leads within $root, links followed there: sets REPLY, a path without links below $root. What does not
# exist is taken as it is written. Fails for more than 40 links.
within() {
    local rest=$1 done='' part link count=0
    while [ -n "$rest" ]; do
        part=${rest%%/*}
        if [ "$part" = "$rest" ]; then rest=''; else rest=${rest#*/}; fi
        case $part in
            '' | .) continue ;;
            ..)
                done=${done%/*}
                continue
                ;;
        esac
        if [ -L "$root$done/$part" ]; then
            count=$((count + 1))
            [ "$count" -le 40 ] || return 1
            link=$(readlink -n -- "$root$done/$part" && printf x) # names may end with a line break
            link=${link%x}
            case $link in /*) done='' ;; esac
            rest=$link/$rest
        else
            done=$done/$part
        fi
    done
    REPLY=$root$done
}

# Say what is done next, for profiles.
stage() { printf '\036stage %s\n' "$1"; }

# Mount the tree of a container at $root.
mount_root() {
    root=$(buildah mount "$1")
}

# The link that systemd-resolved wants, where there is nothing, or the empty file that engines mount over. A file with
# bytes has an owner, and stays.
link_resolv_conf() {
    within /usr/lib/systemd/systemd-resolved && [ -x "$REPLY" ] || return 0
    within /etc && [ -d "$REPLY" ] && [ ! -L "$REPLY/resolv.conf" ] && [ ! -s "$REPLY/resolv.conf" ] || return 0
    rm -f "$REPLY/resolv.conf"
    ln -s ../run/systemd/resolve/stub-resolv.conf "$REPLY/resolv.conf"
}

# Keep what a step left: $image, or $failed where it ended with a $code other than 0.
commit_step() {
    stage commit
    if [ "$code" != 0 ]; then
        printf '\036failed %s\n' "$code"
        buildah commit --quiet --rm "$container" "$failed" > /dev/null
        exit 100
    fi
    buildah commit --quiet --rm "$container" "$image" > /dev/null
}

# Keep a base as $image, with these labels.
commit_import() {
    chmod 755 "$root"
    link_resolv_conf
    buildah umount "$container" > /dev/null
    [ $# = 0 ] || buildah config "$@" "$container"
    buildah commit --quiet --rm "$container" "$image" > /dev/null
}

# Run a command in the sandbox: `bwrap` with the container's tree as its root. The arguments that dibo made are in
# $directory/arguments, each ended by a NUL; $directory/resolv.conf, where it is, tells the command who resolves names;
# $directory/seccomp, where it is, is the filter of system calls.
# shellcheck shell=bash disable=SC2034,SC2154 # variables of whoever sources this

place=/         # where the command sees the tree
mounts=()       # arguments of bwrap that this script finds out
made=()         # what is made in the tree to mount over, in the order in which it goes again
resolv_conf=''  # the file in the tree that stands for $directory/resolv.conf while the command runs
resolv_link=''  # or the link that leads to where it is mounted

# bwrap follows links in the tree where it mounts, so there must be none. Fails with a word on stderr.
require_mount_points() {
    local path part
    while read -r path; do
        part=$path
        while [ -n "$part" ]; do
            if [ -L "$root$part" ]; then
                echo "dibo mounts $path for the time of a step, and $part of the root is a symbolic link" >&2
                return 1
            fi
            part=${part%/*}
        done
        make_mount_point "$root$path"
    done < "$directory/mount-points"
    if [ -e "$directory/resolv.conf" ] && within /etc/resolv.conf && [ -d "$REPLY" ]; then
        echo "/etc/resolv.conf of the root is a directory" >&2
        return 1
    fi
}

# Have PATH, below $root and without links, to mount over: a directory, or with FILE a file. bwrap would make the
# directories above it for root alone, and apt asks for names as somebody else; and it would leave the time of the step
# on what they are in. What is below /run goes again.
make_mount_point() {
    local path=$1 file=${2:-} part=$1 missing=()
    while [ ! -e "$part" ]; do
        missing+=("$part")
        part=${part%/*}
    done
    [ ${#missing[@]} != 0 ] || return 0
    touch -r "${part:-/}" "$directory/above"
    (umask 022 && if [ -n "$file" ]; then mkdir -p "${path%/*}" && : > "$path"; else mkdir -p "$path"; fi)
    touch -r "$directory/above" "${missing[@]}" "${part:-/}"
    case $path in "$root"/run/*) made+=("${missing[@]}") ;; esac
}

# Give the command a resolv.conf, in a way that leaves /etc/resolv.conf a name like others: a command may replace it.
put_resolv_conf() {
    [ -e "$directory/resolv.conf" ] || return 0
    cp "$directory/resolv.conf" "$directory/resolv.given"
    within /etc && [ -d "$REPLY" ] || return 0
    etc=$REPLY
    within /etc/resolv.conf || return 0
    if [ -L "$etc/resolv.conf" ] && [ "${REPLY#"$root"/run/}" != "$REPLY" ]; then
        resolv_link=$(readlink -- "$etc/resolv.conf")
        make_mount_point "$REPLY" file
        mounts+=(--bind "$directory/resolv.conf" "${place%/}${REPLY#"$root"}")
        return
    fi
    resolv_conf=$etc/resolv.conf
    touch -r "$etc" "$directory/etc"
    if [ -e "$resolv_conf" ] || [ -L "$resolv_conf" ]; then
        cp -a "$resolv_conf" "$directory/resolv.saved"
        rm -f "$resolv_conf"
    fi
    cp "$directory/resolv.conf" "$resolv_conf"
    chmod 644 "$resolv_conf"
    touch -r "$directory/etc" "$etc"
}

# Whether the directory of PATH, below $root, is still there, and no link on the way to it: one that a command made leads
# to a file of the host here.
is_within() {
    local parent=${1%/*}
    [ "$parent" = "$root" ] && return 0
    within "${parent#"$root"}" && [ "$REPLY" = "$parent" ] && [ -d "$parent" ]
}

# What was made to mount over goes again, unless the command put something there. The directory that it was in stays as
# old as it is.
remove_made() {
    local path
    for path in "${made[@]}"; do
        if [ -L "$path" ] || ! is_within "$path"; then continue; fi
        touch -r "${path%/*}" "$directory/above"
        if [ -d "$path" ]; then rmdir "$path" 2> /dev/null || true; elif [ ! -s "$path" ]; then rm -f "$path"; fi
        touch -r "$directory/above" "${path%/*}"
    done
}

# What a command wrote to /etc/resolv.conf stays, also when it wrote through the link; what dibo put there does not.
take_resolv_conf() {
    if [ -z "$resolv_link$resolv_conf" ] || ! is_within "$etc/resolv.conf"; then return 0; fi
    if [ -n "$resolv_link" ]; then
        if ! cmp -s "$directory/resolv.conf" "$directory/resolv.given" && [ -L "$etc/resolv.conf" ] &&
            [ "$(readlink -- "$etc/resolv.conf")" = "$resolv_link" ]; then
            rm -f "$etc/resolv.conf"
            cp -p "$directory/resolv.conf" "$etc/resolv.conf"
        fi
    else
        put_back "$etc/.resolv.conf.systemd-resolved.bak" # systemd-resolved keeps what it replaces
        put_back "$resolv_conf"
    fi
}

# Where PATH is still what dibo put there, have again what was there before.
put_back() {
    [ ! -L "$1" ] && [ -f "$1" ] && cmp -s "$1" "$directory/resolv.given" || return 0
    touch -r "$etc" "$directory/etc"
    rm -f "$1"
    if [ -e "$directory/resolv.saved" ] || [ -L "$directory/resolv.saved" ]; then
        cp -a "$directory/resolv.saved" "$1"
    fi
    touch -r "$directory/etc" "$etc"
}

# bwrap with the tree and dibo's arguments, in place of this shell. It inherits the standard files alone: a descriptor
# of a directory would be a way out.
enter_sandbox() {
    local number arguments filter
    for number in /proc/self/fd/*; do
        number=${number##*/}
        [ "$number" -le 2 ] || eval "exec $number>&-"
    done
    umask 022
    ulimit -S -n 1024 2> /dev/null || true # some programs close every number that they could have
    if [ -e "$directory/seccomp" ]; then
        exec {filter}< "$directory/seccomp"
        mounts+=(--seccomp "$filter")
    fi
    exec {arguments}< <(printf '%s\0' --bind "$root" "$place" "${mounts[@]}" && cat "$directory/arguments")
    exec 3> "$directory/status"
    exec bwrap --args "$arguments" --json-status-fd 3 -- "$@"
}

# Run the command to its end; sets `code`. Standard input is a pipe that dibo holds: it ends when dibo does, and then so
# do the command and this script, whatever ended dibo. The command has a session of its own: a signal to its process
# group would reach this script, outside the sandbox. Fails where bwrap could not start the command.
run_in_sandbox() {
    local alive command errors teeing watcher
    mounts+=(--new-session)
    exec {alive}<&0 < /dev/null
    exec {errors}> >(tee "$directory/errors")
    teeing=$!
    (enter_sandbox "$@" 2>&"$errors") &
    command=$!
    exec {errors}>&-
    {
        read -r -u "$alive" || true
        kill -KILL "$command" $$
    } > /dev/null 2>&1 &
    watcher=$!
    code=0
    wait "$command" || code=$?
    kill "$watcher"
    wait "$watcher" 2> /dev/null || true
    wait "$teeing" || true
    if ! grep -q exit-code "$directory/status"; then
        grep -q '^bwrap: execvp ' "$directory/errors" || return 1
        code=127 # as a shell says that there is no such command (POSIX sh, 2.8.2)
    fi
}

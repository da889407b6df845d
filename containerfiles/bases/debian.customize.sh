# The end of a Debian base: run by mmdebstrap as its last customize-hook, on the host's side, $1 being the root.
# What it does is part of the base's key (dibo/build/bases/debian.py). Package lists stay: later layers install from
# them, and the last step of a build removes them.
# shellcheck shell=sh
set -eu
root=$1
cd "$root" # find(1) goes back to where it was called, which may be a home that the mapped root may not enter

# Of this machine: mmdebstrap lends the root its hostname and resolv.conf; systemd-resolved keeps a copy of the latter.
rm -f "$root/etc/hostname" "$root/etc/.resolv.conf.systemd-resolved.bak"
rm -f "$root/etc/resolv.conf"
[ ! -e "$root/lib/systemd/systemd-resolved" ] || ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"

# Of this build: settings for apt and dpkg, logs, backups, caches that programs write again.
rm -f "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
rm -f "$root"/var/log/*.log "$root"/var/log/apt/* "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old
rm -f "$root/etc/passwd-" "$root/etc/shadow-" "$root/etc/group-" "$root/etc/gshadow-"
rm -f "$root/etc/subuid-" "$root/etc/subgid-" "$root/etc/.pwd.lock"
find "$root/var/log" -type f -size +0 -exec truncate -s 0 {} +

# Of one machine only: it makes its own when it first boots.
rm -f "$root"/etc/ssh/ssh_host_*_key "$root"/etc/ssh/ssh_host_*_key.pub
rm -f "$root/var/lib/systemd/random-seed" "$root/var/lib/systemd/credential.secret"

# Packages that were chosen before came from an archive of their own; steps find the sources and no lists. The clock is
# what times in later layers are clamped to, unless these are of a later epoch.
if [ -n "${DIBO_ARCHIVE:-}" ]; then
    rm "$root/etc/apt/sources.list"
    cp -R "$root/etc/apt/sources.later/." "$root/etc/apt/"
    rm -r "$root/etc/apt/sources.later"
    find "$root/var/lib/apt/lists" -type f -delete
    mkdir -p "$root/var/lib/dibo"
    printf '%s\n' "$SOURCE_DATE_EPOCH" > "$root/var/lib/dibo/clock"
fi

# netplan writes networkd's files; Debian's preset leaves networkd itself off, its cloud images switch it on.
[ ! -e "$root/usr/sbin/netplan" ] || chroot "$root" systemctl enable --quiet systemd-networkd.service

# shellcheck shell=sh
# Sourced by the probes: note that $1 of flavour $2 ran in this boot.
record() {
    mkdir -p /var/lib/first-boot-probe
    printf '%s %s %s\n' "$1" "$2" "$(cat /proc/sys/kernel/random/boot_id)" >> /var/lib/first-boot-probe/log
}

#!/bin/sh
# Each line: `state-probe:`, what, and what it is.
directory=/var/lib/state-probe

tell() {
	printf 'state-probe: %s %s\n' "$1" "$(tr '\n' ' ')"
}

{ systemctl is-system-running --wait; systemctl --failed --no-legend --plain; } | tell system
cat /etc/ssh/ssh_host_*_key.pub | sha256sum | tell keys
cat /mnt/state/etc/ssh/ssh_host_*_key.pub | sha256sum | tell kept-keys
ssh-keyscan -q -t ed25519 127.0.0.1 | tell served
tell machine-id </etc/machine-id
{ find /var/log/journal /run/log/journal -mindepth 1 -type d -printf '%f\n'; journalctl -b -o cat | grep -c 'Linux version'; } | tell journal
findmnt -no LABEL,FSTYPE /mnt/state | tell state
{ findmnt -no FSROOT $directory; stat -c %a $directory; } | tell directory
{ cat /etc/state-probe-was-here 2>/dev/null || echo new; } | tell root
tell first <$directory/first
cat $directory/boots 2>/dev/null | tell boots

echo "was here" >/etc/state-probe-was-here
echo "of the machine" >$directory/first
cat /proc/sys/kernel/random/boot_id >>$directory/boots
tell end </dev/null
systemctl poweroff

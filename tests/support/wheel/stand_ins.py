"""A program that stands in for package managers and service managers: it writes down how it was called, and where a
package manager would unpack a root, puts programs of this machine there."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Final

PROGRAM: Final = r"""
root=${STAND_IN_ROOT:-}
[ ! -d /build.dib/mnt ] || root=/build.dib/mnt
name=${0##*/}
mkdir -p "$root/var/lib"
echo "$name $*" >> "$root/var/lib/calls"
case $name in # who writes to it is not ended by SIGPIPE
    chpasswd | debconf-set-selections) [ ! -p /dev/stdin ] || cat > /dev/null ;;
esac

put_program() {
    local path library
    path=$(readlink -f "$(PATH=/usr/sbin:/usr/bin command -v "$1")")
    cp "$path" "$root/usr/bin/$1"
    for library in $(ldd "$path" | grep -o '/[^ ]*'); do
        mkdir -p "$root${library%/*}"
        cp -L "$library" "$root$library"
    done
}

make_root() {
    local applet library directory
    mkdir -p "$root"/usr/{bin,lib,lib64} "$root"/{etc,proc,dev,sys,run,tmp,root,home,boot,opt,var/log} \
        "$root"/usr/{share,lib/locale/de,local/bin,local/sbin}
    chmod 1777 "$root/tmp"
    for directory in bin lib lib64; do [ -e "$root/$directory" ] || ln -s usr/$directory "$root/$directory"; done
    [ -e "$root/sbin" ] || ln -s usr/bin "$root/sbin"
    [ -e "$root/usr/sbin" ] || ln -s bin "$root/usr/sbin"
    for applet in bash python3 env install sed grep find tar cp rsync; do put_program "$applet"; done
    ln -s bash "$root/usr/bin/sh"
    library=$(/usr/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
    mkdir -p "$root$library"
    (cd "$library" && tar c --exclude=__pycache__ --exclude=test --exclude='config-*' .) | tar x -C "$root$library"
    mkdir -p "$root/usr/lib/python3/dist-packages" # where Debian's Python looks
    cp -r "$("$DIBO_PYTHON" -c 'import yaml; print(yaml.__path__[0])')" "$root/usr/lib/python3/dist-packages/"
    cp /usr/bin/busybox "$root/usr/bin/busybox"
    for applet in $(busybox --list); do [ -e "$root/usr/bin/$applet" ] || ln -s busybox "$root/usr/bin/$applet"; done
    for applet in dnf yum rpm zypper visudo systemctl fips-mode-setup subscription-manager mkinitrd emerge eselect \
        systemd-machine-id-setup \
        emerge-webrsync etc-update emaint portageq locale-gen rc-update apt-get dpkg dpkg-query dpkg-divert sysctl \
        useradd usermod chpasswd start-stop-daemon dpkg-reconfigure debconf-set-selections swapoff ctr; do
        rm -f "$root/usr/bin/$applet"
        cp "$0" "$root/usr/bin/$applet"
    done
    mkdir -p "$root"/etc/{dnf/vars,yum/vars,yum.repos.d,rpm,pki/rpm-gpg,selinux,zypp,ssh,portage,sudoers.d} \
        "$root"/etc/{apt/apt.conf.d,dpkg/dpkg.cfg.d,apt/sources.list.d,network,default,sysctl.d,systemd/system} \
        "$root"/etc/sysconfig/network-scripts "$root"/usr/share/man "$root"/usr/lib/systemd/system \
        "$root"/var/lib/apt/lists "$root"/var/cache/apt/archives
    printf '[main]\n' | tee "$root/etc/dnf/dnf.conf" > "$root/etc/yum.conf"
    printf '[archive]\nenabled=0\n' > "$root/etc/yum.repos.d/archive.repo"
    printf '[epel]\n' > "$root/etc/yum.repos.d/epel.repo"
    printf 'root ALL=(ALL) ALL\nDefaults requiretty\nDefaults secure_path = /usr/bin\n' > "$root/etc/sudoers"
    printf 'USERGROUPS_ENAB no\n' > "$root/etc/login.defs"
    printf 'RC_LANG=\n' > "$root/etc/sysconfig/language"
    printf 'root:x:0:0:root:/root:/bin/bash\n' > "$root/etc/passwd"
    printf 'root:x:0:\n' > "$root/etc/group"
    printf '#\n' | tee "$root/etc/zypp/zypp.conf" > "$root/etc/ssh/sshd_config"
    printf 'old\n' > "$root/etc/machine-id"
}

case "$name $*" in
    portageq*) echo /var/db/repos/gentoo ;;
    *" --version"*) echo 4.0 ;;
    dnf\ download*)
        for word in "$@"; do case $word in --destdir=*) touch "${word#*=}/filesystem.rpm" ;; esac; done
        ;;
    *)
        case " $* " in *" -ivh "* | *" install "*) [ -z "$root" ] || [ -e "$root/usr/bin/bash" ] || make_root ;; esac
        ;;
esac
"""

_ON_PATH: Final = 'if [ -n "${TMP_HOOKS_PATH:-}" ]; then export PATH=$TMP_HOOKS_PATH/stand-ins:$PATH; fi\n'


def stand_ins(*names: str) -> dict[str, str]:
    """An element `stand-in` with a program by each of these names, for scripts outside of the image."""
    programs = {f"stand-in/stand-ins/{name}": PROGRAM for name in names}
    return {"stand-in/environment.d/00-stand-in": _ON_PATH, **programs}


def write_root(tar: Path, scratch: Path) -> None:
    """Write the archive of a root in which all package managers are stand-ins. `scratch` is an empty directory."""
    program = scratch / "stage"
    program.write_text(f"#!/bin/bash\nset -eu -o pipefail\n{PROGRAM}")
    program.chmod(0o755)
    root = scratch / "root"
    root.mkdir(mode=0o755)
    environment = {**os.environ, "STAND_IN_ROOT": str(root), "DIBO_PYTHON": sys.executable}
    subprocess.run([program, "install"], env=environment, check=True, stdout=subprocess.DEVNULL)
    (root / "var/lib/calls").unlink()

    def of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    with tarfile.open(tar, "w") as archive:
        archive.add(root, ".", filter=of_root)


APT_OS: Final = {
    **stand_ins("apt-get"),
    "os/element-provides": "operating-system\n",
    "os/element-deps": "stand-in\ndpkg\npackage-installs\npkg-map\nsysprep\n",
    "os/environment.d/10-os": "export DISTRO_NAME=debian DIB_RELEASE=bookworm DIB_INIT_SYSTEM=systemd\n"
    "export DIB_PYTHON_VERSION=3 EFI_BOOT_DIR=EFI/debian\n",
    "os/root.d/05-root": 'apt-get install "$DIB_RELEASE"\n',
}
"""An operating system of the kind of Debian, in seconds: its package manager only writes down what it is asked for."""

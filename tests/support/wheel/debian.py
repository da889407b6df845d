"""Groups that are built on Debian, from its archive."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.support.wheel.model import WheelGroup

RELEASE: Final = "bookworm"
_SOURCES: Final = """deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://security.debian.org/debian-security bookworm-security main
"""

MACHINE: Final = WheelGroup(
    system=("base", "fixture"),
    variables={
        "DIB_RELEASE": RELEASE,
        "DIB_ADD_APT_KEYS": "{inputs}/keys",
        "DIB_APT_CONF": "{inputs}/apt.conf",
        "DIB_APT_SOURCES": "{inputs}/sources.list",
        "DIB_DPKG_MANIFEST": "{inputs}/manifest.json",
        "DIB_DEB_UPDATES_CONF": "{inputs}/updates.conf",
        "DIB_FAIL2BAN_CONF": "{inputs}/jail.local",
        "DIB_CLOUD_INIT_ALLOW_SSH_PWAUTH": "1",
        "DIB_CLOUD_INIT_GROWPART_DEVICES": "['/', '/var']",
        "DIB_DEV_USER_USERNAME": "otter",
        "DIB_DEV_USER_PWDLESS_SUDO": "yes",
        "DIB_DEV_USER_SHELL": "/bin/bash",
        "DIB_DEV_USER_AUTHORIZED_KEYS": "{inputs}/otter.pub",
        "DIB_ILO_FIRMWARE_PATH": "{inputs}/firmware",
        "DIB_INSTALLTYPE_pip_and_virtualenv": "package",
        "DIB_MODPROBE_BLACKLIST": "floppy",
        "DIB_PYPI_MIRROR_URL": "http://127.0.0.1:9/simple",
        "DIB_REPOLOCATION_data": "file://{inputs}/data.txt",
    },
    inputs={
        "apt.conf": 'APT::Install-Suggests "false";\n',
        "sources.list": _SOURCES,
        "manifest.json": '{"packages": [{"package": "no-such-package", "version": "1.0"}]}\n',
        "updates.conf": 'Unattended-Upgrade::Mail "root";\n',
        "jail.local": "[sshd]\nenabled = true\n",
        "otter.pub": "ssh-ed25519 AAAA otter\n",
        "data.txt": "data\n",
        "keys/otter.gpg": "key\n",
        "firmware/flash.scexe": 'cd "$TMP_MOUNT_PATH" && mkdir -p opt/firmware && touch opt/firmware/new\n',
    },
    files={
        "fixture/element-deps": "source-repositories\ninstall-static\n",
        "fixture/source-repository-data": "data file /opt/data.txt http://localhost/data.txt\n",
        "fixture/static/etc/selinux/config": "SELINUX=enforcing\n",
        "fixture/svc-map": "data-service:\n  debian: data-on-debian\n",
        "fixture/install.d/60-fixture": "sysctl-write-value net.ipv4.ip_forward 1\n"
        'test "$(svc-map data-service)" = data-on-debian\n',
    },
    traces={
        "debian-minimal": ("package linux-image-amd64", "package netbase"),
        "debootstrap": ("etc/hostname ~ debian", "package locales"),
        "apt-conf": ("etc/apt/apt.conf ~ Suggests",),
        "apt-preferences": ("etc/apt/preferences ~ Package: no-such-package",),
        "apt-sources": ("etc/apt/sources.list ~ deb.debian.org/debian bookworm main",),
        "autoupdates": (
            "package unattended-upgrades",
            "enabled unattended-upgrades.service",
            "etc/apt/apt.conf.d/50unattended-upgrades ~ Mail",
        ),
        "base": ("package apt-transport-https", "package open-iscsi"),
        "baremetal": ("boot/vmlinuz-", "boot/initrd.img-"),
        "cache-url": ("package curl", "usr/local/bin/cache-url"),
        "cleanup-kernel-initrd": ("boot/vmlinuz-",),
        "cloud-init": (
            "package cloud-init",
            "enabled cloud-init.service",
            "etc/cloud/cloud.cfg ~ ssh_genkeytypes",
            "etc/cloud/cloud.cfg ~ ssh_pwauth: 1",
        ),
        "cloud-init-datasources": (
            "etc/cloud/cloud.cfg.d/91-dib-cloud-init-datasources.cfg ~ NoCloud, None",
        ),
        "cloud-init-disable-resizefs": (r"etc/cloud/cloud.cfg ~ \A(?![\s\S]*^ - (resizefs|growpart)$)",),
        "cloud-init-growpart": ("etc/cloud/cloud.cfg.d/55-growpart.cfg ~ /var", "package cloud-guest-utils"),
        "cloud-init-nocloud": ("var/lib/cloud/seed/nocloud/user-data",),
        "deploy-baremetal": ("package tgt",),
        "deploy-tgtadm": ("package tgt",),
        "devuser": ("home/otter/.ssh/authorized_keys ~ otter", "etc/sudoers.d/otter ~ NOPASSWD"),
        "dhcp-all-interfaces": (
            "usr/local/sbin/dhcp-all-interfaces.sh",
            "usr/lib/systemd/system/dhcp-interface@.service",
            "etc/network/interfaces ~ iface lo inet loopback",
        ),
        "dib-init-system": ("usr/local/bin/dib-init-system ~ systemd",),
        "dib-python": ("no usr/local/bin/dib-python",),
        "disable-nouveau": ("etc/modprobe.d/disable-nouveau.conf ~ blacklist nouveau",),
        "disable-selinux": ("etc/selinux/config ~ SELINUX=disabled",),
        "dkms": ("package dkms",),
        "dpkg": (
            "etc/apt/trusted.gpg.d/otter.gpg",
            "usr/local/bin/install-packages ~ apt-get",
            "no usr/sbin/start-stop-daemon.REAL",
        ),
        "dynamic-login": ("enabled dynamic-login.service", "usr/local/bin/dynamic-login"),
        "element-manifest": ("etc/dib-manifests/dib-element-manifest ~ element-manifest",),
        "enable-serial-console": ("etc/udev/rules.d/99-serial-console.rules",),
        "ensure-venv": ("package python3-venv",),
        "epel": ("usr/share/pkg-map/epel",),
        "fail2ban": ("enabled fail2ban.service", "etc/fail2ban/jail.local ~ enabled = true"),
        "growroot": ("enabled growroot.service", "usr/local/sbin/growroot"),
        "growvols": ("usr/local/sbin/growvols", "usr/lib/systemd/system/growvols.service"),
        "grub2": ("package grub-pc-bin", "package shim-signed"),
        "hwdiscovery": ("package hwinfo",),
        "ibft-interfaces": ("enabled init-ibft-interfaces.service",),
        "ilo": ("opt/firmware/new",),
        "install-bin": ("usr/local/bin/package-installs-v2",),
        "install-static": ("etc/selinux/config",),
        "install-types": ("usr/local/bin/pkg-map",),
        "iscsi-boot": ("etc/iscsi/iscsi.initramfs ~ ISCSI_AUTO=true",),
        "journal-to-console": ("etc/systemd/journald.conf.d/log-to-console.conf ~ ForwardToConsole",),
        "local-config": ("root/.ssh/authorized_keys ~ AAAA", "etc/apt/apt.conf.d/02-no-proxy ~ 192.0.2.1"),
        "manifests": ("etc/dib-manifests/dib_arguments ~ manifests",),
        "mellanox": ("etc/udev/rules.d/81-mellanox.rules", "etc/modules ~ mlx5_ib", "package mstflint"),
        "modprobe": ("etc/modprobe.d/blacklist.conf ~ blacklist floppy",),
        "nm-dhcp-ib-interfaces": ("etc/NetworkManager/system-connections/infiniband.nmconnection",),
        "openssh-server": ("enabled ssh.service", "etc/ssh/sshd_config ~ ^Ciphers"),
        "openstack-ci-mirrors": ("etc/apt/apt.conf.d/99unauthenticated ~ AllowUnauthenticated",),
        "package-installs": ("usr/local/bin/package-installs",),
        "pip-and-virtualenv": ("package python3-virtualenv", "package python3-pip"),
        "pip-cache": ("no tmp/pip",),
        "pkg-map": ("usr/share/pkg-map/base",),
        "pypi": ("root/.pip",),
        "runtime-ssh-host-keys": ("enabled ssh-keygen.service", "no etc/ssh/ssh_host_ed25519_key"),
        "select-boot-kernel-initrd": ("usr/local/bin/select-boot-kernel-initrd",),
        "selinux-fixfiles-restore": ("etc/selinux/config",),
        "selinux-permissive": ("etc/selinux/config ~ SELINUX=",),
        "source-repositories": ("opt/data.txt ~ data",),
        "svc-map": ("usr/share/svc-map/services ~ data-service: data-on-debian",),
        "sysctl": ("etc/sysctl.d/net.ipv4.ip_forward.conf ~ = 1",),
        "sysprep": ("etc/machine-id ~ ^(uninitialized)?$",),
        "uboot": ("boot/vmlinuz-",),
    },
)
"""A machine with everything that goes together."""

SYSTEM: Final = WheelGroup(
    system=("base",),
    types="raw,tar",
    variables={"DIB_RELEASE": RELEASE, "DIB_BOOTLOADER_DEFAULT_CMDLINE": "nofb otter"},
    traces={
        "debian": ("package cloud-init", "package netplan.io"),
        "debian-systemd": (".extra_settings ~ systemd-sysv",),
        "vm": ("boot/grub/grub.cfg",),
        "bootloader": ("boot/grub/grub.cfg ~ otter",),
        "block-device-efi": ("partition EFI System", "partition BIOS boot"),
    },
)
"""What dibo has of its own for elements that make a root, a disk or a boot loader by means of root."""


def _certificates() -> dict[str, str]:
    """Have pip in the image trust what this machine trusts, which may be a proxy that opens connections to PyPI."""
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if not bundle.is_file():
        return {}
    return {
        "fixture/static/etc/pip.conf": "[global]\ncert = /etc/pip.certificates\n",
        "fixture/static/etc/pip.certificates": bundle.read_text(),
    }


TOOLS: Final = WheelGroup(
    system=("debian-minimal", "fixture"),
    variables={
        "DIB_RELEASE": RELEASE,
        "DIB_DRACUT_ENABLED_MODULES": "[{name: crypt, packages: [cryptsetup]}]",
        "DIB_PYTHON_VERSIONS": "3.9",
        "DIB_REPOLOCATION_pyenv": "{inputs}/pyenv",
    },
    inputs={
        "pyenv/plugins/python-build/install.sh": "#!/bin/sh\nset -e\n"
        "cp /pyenv/plugins/python-build/bin/python-build /usr/local/bin/\n",
        "pyenv/plugins/python-build/bin/python-build": "#!/bin/sh\nset -e\n"
        'if [ "$1" = --definitions ]; then printf "  %s\\n" 2.7.18 3.9.2 3.9.20 3.13.1 miniconda; exit; fi\n'
        'make --version; gcc --version; mkdir -p "$2/bin"; echo "$1" > "$2/bin/python"\n',
    },
    repositories=("pyenv",),
    files={
        "fixture/package-installs.yaml": "dracut-core: {phase: pre-install.d}\n",
        "fixture/element-deps": "package-installs\n",
    },
    traces={
        "dracut-regenerate": ("package cryptsetup", "package dracut-core", "boot/initrd.img-"),
        "posix": ("package mailutils", "package cssc", "package gawk", "package bison"),
        "python-stow-versions": (
            "package stow",
            "usr/local/stow/python-3.9.20/bin/python ~ ^3.9.20$",
            "no usr/local/stow/python-3.9.2",
            "no usr/local/stow/python-3.13.1",
            "no usr/local/bin/pyenv-install",
            "package curl",
        ),
    },
)
"""Tools that images are made with."""

PYTHON: Final = WheelGroup(
    system=("debian-minimal", "fixture"),
    variables={
        "DIB_RELEASE": RELEASE,
        "DIB_INSTALLTYPE_glean": "repo",
        "DIB_INSTALLTYPE_pip_and_virtualenv": "package",
    },
    files={
        "fixture/package-installs.yaml": "gcc:\nlibc6-dev:\nvirtualenv:\n",
        "fixture/element-deps": "install-static\npackage-installs\n",
        **_certificates(),
    },
    traces={
        "python-brickclient": (
            "usr/share/python-brickclient/venv/lib/python3.11/site-packages/brick_cinderclient_ext",
            "link usr/local/bin/python-brickclient /usr/share/python-brickclient/venv/bin/python-brickclient",
            "package libffi-dev",
        ),
        "simple-init": (
            "link usr/local/bin/glean /usr/glean/bin/glean",
            "usr/glean/bin/glean",
            "etc/modules ~ ^8021q$",
            "package net-tools",
            "package ifupdown",
            "no usr/bin/cloud-init",
        ),
    },
)
"""What is installed from PyPI."""

GROUPS: Final = {"machine": MACHINE, "system": SYSTEM, "tools": TOOLS, "python": PYTHON}

"""Groups for package managers whose archives are not Debian's: RPM, zypper, Portage, and Ubuntu's part of apt.

What the elements do is run as it is; in place of the package manager stands a program that writes down how it was
called, and that puts programs of this machine into the root where a real one would unpack packages.
"""

from __future__ import annotations

from typing import Final

from tests.support.wheel.debian import RELEASE
from tests.support.wheel.model import WheelGroup
from tests.support.wheel.stand_ins import stand_ins

FEDORA: Final = WheelGroup(
    system=("stand-in",),
    files=stand_ins("dnf", "rpm"),
    variables={"DIB_RELEASE": "42"},
    traces={
        "fedora-minimal": ("call ^dnf download .*--releasever=42 .* fedora-release-common ",),
        "yum-minimal": (
            "call ^dnf -y .*--installroot /build.dib/mnt install dnf ",
            "etc/locale.conf ~ en_US",
        ),
        "yum": ("usr/local/bin/install-packages ~ YUM", "etc/dnf/dnf.conf ~ keepcache=0"),
        "redhat-common": ("call ^dnf .*install .*selinux-policy-targeted", "usr/local/bin/map-packages"),
        "rpm-distro": ("call ^visudo -c", "etc/sudoers ~ secure_path = /usr/bin:/usr/local/bin"),
        "fips": ("call ^fips-mode-setup --enable", "call ^dnf .*install .*crypto-policies-scripts"),
        "deploy-targetcli": ("call ^dnf .*targetcli", "usr/lib/dracut/modules.d/50targetcli/iscsi-func"),
        "stable-interface-names": ("call ^dnf .*biosdevname",),
    },
)

CENTOS: Final = WheelGroup(
    system=("stand-in",),
    files=stand_ins("dnf", "rpm"),
    variables={
        "DIB_RELEASE": "9-stream",
        "DIB_ELREPO_KERNEL": "1",
        "DIB_EPEL_MIRROR": "http://mirror.example/epel",
        "REG_METHOD": "portal",
        "REG_USER": "otter",
        "REG_PASSWORD": "swordfish",
    },
    traces={
        "centos-minimal": ("call ^dnf download .* centos-stream-release ",),
        "epel": ("call ^dnf install -y epel-release", "call ^dnf .*install .*wget"),
        "elrepo": ("call ^dnf config-manager --set-enabled elrepo-kernel",),
        "rhel-common": (
            "call ^subscription-manager register .*--username otter",
            "call ^subscription-manager unregister",
        ),
        "oat-client": ("call ^dnf .*install .*oat-client",),
        "dib-run-parts": ("call ^dnf .*install .*dib-utils",),
    },
)

OPENEULER: Final = WheelGroup(
    system=("stand-in",),
    files=stand_ins("dnf", "rpm"),
    traces={
        "openeuler-minimal": (
            "call ^dnf download .* openEuler-release ",
            "call ^systemctl enable sshd.service",
            "call ^dnf .*install .*openEuler-latest-release",
        ),
    },
)

OPENSUSE: Final = WheelGroup(
    system=("stand-in",),
    files=stand_ins("zypper"),
    variables={"DIB_RELEASE": "15.6"},
    traces={
        "opensuse-minimal": ("call ^zypper .*--root /build.dib/mnt addrepo .*/leap/15.6/",),
        "zypper-minimal": (
            "call ^zypper .*--root /build.dib/mnt install .*zypper sudo",
            "etc/locale.conf ~ C.UTF-8",
        ),
        "zypper": ("call ^zypper --non-interactive .*install .*kernel-default", "call ^zypper clean -a"),
    },
)

GENTOO: Final = WheelGroup(
    system=("stage", "stand-in"),
    files={
        **stand_ins("gpgv", "stage3"),
        "stage/root.d/05-stage": '"$TMP_HOOKS_PATH/stand-ins/stage3" install\n',
    },
    inputs={
        "stages.txt": "stage3.tar 10240\n-----BEGIN PGP SIGNATURE-----\n",
        "stage3.tar": "\0" * 10240,
        "stage3.tar.asc": "signature\n",
    },
    variables={
        "DIB_CLOUD_SOURCE": "file://{inputs}/stages.txt",
        "BASE_IMAGE_FILE": "file://{inputs}/stage3.tar",
        "SIGNATURE_FILE": "file://{inputs}/stage3.tar.asc",
    },
    traces={
        "gentoo": (
            "call ^gpgv --keyring .*gentoo-releng.gpg .*asc",
            "call ^eselect locale set en_US.utf8",
            "call ^emerge .*net-misc/curl|^emerge .*curl",
            "call ^emerge .*@world",
            "etc/timezone ~ UTC",
        ),
    },
)

UBUNTU_MINIMAL: Final = WheelGroup(
    system=(),
    base=f"debian:{RELEASE}",
    variables={"DIB_RELEASE": "noble", "DIB_UBUNTU_KERNEL": "none"},
    traces={"ubuntu-minimal": ("package busybox", "etc/hostname ~ ubuntu")},
)

_MAKE_ARCHIVE: Final = """
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends busybox gnupg python3 sudo
mkdir -p /opt/archive /etc/cloud/cloud.cfg.d

put_package() { # NAME FILE
    local tree=/opt/archive/$1
    mkdir -p "$tree/DEBIAN" "$tree/boot"
    echo "$1" > "$tree/boot/$2"
    printf 'Package: %s\\nVersion: 6.8.0.1\\nArchitecture: all\\n' "$1" > "$tree/DEBIAN/control"
    printf 'Maintainer: Otter <otter@example.org>\\nDescription: a stand-in\\n' >> "$tree/DEBIAN/control"
    dpkg-deb --build "$tree" "$tree.deb"
    cat "$tree/DEBIAN/control"
    printf 'Filename: ./%s.deb\\nSize: %s\\n' "$1" "$(stat -c %s "$tree.deb")"
    printf 'SHA256: %s\\n\\n' "$(sha256sum < "$tree.deb" | cut -d ' ' -f 1)"
}

{
    put_package linux-image-generic vmlinuz-6.8.0-1-generic
    put_package linux-signed-image-generic vmlinuz-6.8.0-1-generic.efi.signed
} | grep -v ^dpkg-deb > /opt/archive/Packages
echo 'deb [trusted=yes] file:/opt/archive ./' > /etc/apt/sources.list.d/archive.list
apt-get update
"""
"""Debian for Ubuntu's cloud image, and an archive in the image with packages that only Ubuntu has."""

UBUNTU: Final = WheelGroup(
    system=("archive",),
    base=f"debian:{RELEASE}",
    files={"archive/pre-install.d/00-archive": _MAKE_ARCHIVE},
    variables={"DIB_RELEASE": "noble", "DIB_MODPROBE_BLACKLIST": "floppy pcspkr"},
    traces={
        "ubuntu": (
            "package linux-image-generic",
            "package dkms",
            "etc/cloud/cloud.cfg.d/91-dib-cloud-init-datasources.cfg ~ Ec2",
        ),
        "modprobe-blacklist": (
            "etc/modprobe.d/blacklist.conf ~ ^blacklist floppy$",
            "etc/modprobe.d/blacklist.conf ~ ^blacklist pcspkr$",
        ),
        "ubuntu-common": ("etc/sysctl.d/99-cloudimg-ipv6.conf ~ use_tempaddr=0",),
        "ubuntu-signed": (
            "package linux-signed-image-generic",
            "dib-signed-kernel-version ~ =6.8.0-1-generic.efi.signed$",
        ),
    },
)

UBUNTU_CONTAINER: Final = WheelGroup(
    system=("apt", "stand-in"),
    base="empty",
    files={**stand_ins("stage"), "apt/root.d/05-apt": '"$TMP_HOOKS_PATH/stand-ins/stage" install\n'},
    variables={"DIB_RELEASE": "noble", "DIB_UBUNTU_KERNEL": "none"},
    traces={
        "ubuntu-systemd-container": (
            "call ^apt-get dist-upgrade -y",
            "call ^apt-get install -y systemd-sysv sudo python3",
            "etc/apt/sources.list ~ noble-security main universe",
        ),
    },
)

_CONTAINER: Final = {"DIB_CONTAINERFILE_BUILDOPTS": "--from {registry}/rpm:1"}


def _enterprise(name: str) -> WheelGroup:
    """Of the elements for containers of the family of RHEL."""
    return WheelGroup(
        system=(),
        variables=_CONTAINER,
        traces={
            name: (
                "call ^dnf group install -y Minimal Install --allowerasing$",
                "call ^systemctl unmask console-getty.service",
                "call ^systemd-machine-id-setup",
                "call ^dnf .*install .*grubby",
            ),
        },
    )


FEDORA_CONTAINER: Final = WheelGroup(
    system=(),
    variables=_CONTAINER,
    traces={
        "containerfile": ("call ^dnf install -y findutils$",),
        "fedora-container": ("call ^dnf .*install .*redhat-lsb-core",),
    },
)

GROUPS: Final = {
    "almalinux-container": _enterprise("almalinux-container"),
    "rocky-container": _enterprise("rocky-container"),
    "fedora-container": FEDORA_CONTAINER,
    "fedora": FEDORA,
    "centos": CENTOS,
    "openeuler": OPENEULER,
    "opensuse": OPENSUSE,
    "gentoo": GENTOO,
    "ubuntu": UBUNTU,
    "ubuntu-minimal": UBUNTU_MINIMAL,
    "ubuntu-container": UBUNTU_CONTAINER,
}

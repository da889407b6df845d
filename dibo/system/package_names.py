"""The programs dibo may start, and the packages of Debian, Ubuntu and Fedora that hold them.

One table, so that "not found" names a package everywhere and `dibo doctor` asks about the same programs.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

PACKAGES: Final = {
    "buildah": "buildah",
    "newuidmap": "uidmap",
    "bwrap": "bubblewrap",
    "crun": "crun",
    "slirp4netns": "slirp4netns",
    "arch-test": "arch-test",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "mount": "mount",
    "umount": "mount",
    "dmsetup": "dmsetup",
    "e2fsck": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-arm": "qemu-system-arm",
    "qemu-system-ppc64": "qemu-system-ppc",
    "qemu-system-riscv64": "qemu-system-misc",
    "qemu-system-s390x": "qemu-system-misc",
    "qemu-aarch64-static": "qemu-user-static",
    "qemu-arm-static": "qemu-user-static",
    "qemu-i386-static": "qemu-user-static",
    "qemu-riscv64-static": "qemu-user-static",
    "qemu-x86_64-static": "qemu-user-static",
    "guestfish": "libguestfs-tools",
    "mksquashfs": "squashfs-tools",
    "unsquashfs": "squashfs-tools",
    "xorriso": "xorriso",
    "sqfs2tar": "squashfs-tools-ng",
    "gpgv": "gpgv",
    "gpg": "gpg",
    "tar": "tar",
    "xz": "xz-utils",
    "zstd": "zstd",
    "unshare": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}


FEDORA: Final = {
    "newuidmap": "shadow-utils",
    "mount": "util-linux",
    "umount": "util-linux",
    "dmsetup": "device-mapper",
    "qemu-img": "qemu-img",
    "qemu-system-x86_64": "qemu-system-x86-core",
    "qemu-system-aarch64": "qemu-system-aarch64-core",
    "qemu-system-arm": "qemu-system-arm-core",
    "qemu-system-ppc64": "qemu-system-ppc-core",
    "qemu-system-riscv64": "qemu-system-riscv-core",
    "qemu-system-s390x": "qemu-system-s390x-core",
    "guestfish": "/usr/bin/guestfish",
    "gpgv": "gnupg2",
    "gpg": "gnupg2",
    "xz": "xz",
    "ssh": "openssh-clients",
    "ssh-keygen": "openssh",
}
"""Where Fedora and its relatives have another name than Debian."""
OS_RELEASE: Final = Path("/etc/os-release")


def how_to_install(tool: str) -> str:
    """What to do when `tool` is missing, as this distribution does it (os-release(5))."""
    package = PACKAGES.get(tool)
    if package is None:
        return f"install {tool}, or put it on PATH"
    return how_to_install_package(tool, debian=package, fedora=FEDORA.get(tool, package))


def how_to_install_package(thing: str, *, debian: str, fedora: str) -> str:
    """The same for something that is no program; `fedora` is empty where Fedora has no package of it."""
    family = _family()
    if "debian" in family or "ubuntu" in family:
        return f"install it: sudo apt-get install {debian}"
    if fedora and ("fedora" in family or "rhel" in family):
        return f"install it: sudo dnf install {fedora}"
    return f"install it: {thing}, which Debian has in the package {debian}"


def _family() -> list[str]:
    """The ID of the distribution, and those of the ones it is made from; Debian where nothing tells."""
    try:
        lines = OS_RELEASE.read_text(errors="replace").splitlines()
    except OSError:
        return ["debian"]
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    try:
        return shlex.split(f"{fields.get('ID', '')} {' '.join(shlex.split(fields.get('ID_LIKE', '')))}")
    except ValueError:
        return ["debian"]

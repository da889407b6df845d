"""The programs dibo may start, and the Debian and Ubuntu packages that hold them.

One table, so that "not found" names a package everywhere and `dibo doctor` asks about the same programs.
"""

from __future__ import annotations

from typing import Final

PACKAGES: Final = {
    "buildah": "buildah",
    "newuidmap": "uidmap",
    "bwrap": "bubblewrap",
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
    "qemu-aarch64-static": "qemu-user-static",
    "qemu-arm-static": "qemu-user-static",
    "qemu-i386-static": "qemu-user-static",
    "qemu-riscv64-static": "qemu-user-static",
    "qemu-x86_64-static": "qemu-user-static",
    "guestfish": "libguestfs-tools",
    "mksquashfs": "squashfs-tools",
    "unsquashfs": "squashfs-tools",
    "sqfs2tar": "squashfs-tools-ng",
    "gpgv": "gpgv",
    "gpg": "gpg",
    "tar": "tar",
    "xz": "xz-utils",
    "zstd": "zstd",
    "unshare": "util-linux",
    "ssh": "openssh-client",
}


def how_to_install(tool: str) -> str:
    """What to do when `tool` is missing."""
    package = PACKAGES.get(tool)
    return f"install it: sudo apt-get install {package}" if package else f"install {tool}, or put it on PATH"

"""Names of kernels and of their initramfs, of all distributions: the same in a root and on a disk."""

from __future__ import annotations

import re
from typing import Final

INITRAMFS: Final = (
    "initrd.img-{}",
    "initramfs-{}.img",
    "initrd-{}",
    "initrd-{}.img",
    "initramfs-{}",
    "initramfs.img-{}",
)
"""With the version of the kernel, in the order in which they count."""
UNVERSIONED: Final = ("vmlinuz", "vmlinux", "Image")
UNVERSIONED_INITRAMFS: Final = ("initrd.img", "initramfs.img", "initrd", "initramfs")
_VERSION: Final = r"[A-Za-z0-9][A-Za-z0-9._+~@^,=-]{0,199}"
"""What menus of boot loaders, file names of FAT and kernels take as it is."""
_KERNEL: Final = re.compile(f"(?:vmlinuz|vmlinux|Image|kernel)-({_VERSION})")
_LEFT_OVER: Final = (".old", ".bak", ".orig", ".signed", ".sig", ".hmac", ".efi", ".gz", ".xz")
_NOT_RELEASED: Final = re.compile(r"\.(dpkg|rpm|ucf)[-a-z]*$")


def is_version(text: str) -> bool:
    """Whether a text from outside can be the version of a kernel."""
    return re.fullmatch(_VERSION, text) is not None


def version_in(name: str) -> str | None:
    """The version in the name of a kernel, such as `vmlinuz-6.1.0-9-amd64`; None where it is not called so."""
    match = _KERNEL.fullmatch(name)
    return match[1] if match else None


def installed_version(name: str) -> str | None:
    """As `version_in`, and None for copies, signatures, and what a package manager has put aside."""
    version = version_in(name)
    if version is None or version.endswith(_LEFT_OVER) or _NOT_RELEASED.search(version):
        return None
    return version

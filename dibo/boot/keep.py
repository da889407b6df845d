"""Which files' bytes a tree must be loaded with, to be asked by dibo.boot what it boots with.

`is_wanted` decides by a path without its first slash, as dibo.images.layers.load asks. Kernels, initramfs and boot
loaders are the parts themselves: some 100 MB, which `LIMIT` allows.
"""

from __future__ import annotations

import re
from typing import Final

from dibo.boot.bootable import KEPT_FILES

LIMIT: Final = 1 << 30
"""Bytes of all kept files together."""
GRUB_FILES: Final = (b"usr/lib/grub/", b"usr/lib/shim/")
"""Prefixes of files whose bytes a tree must have in memory, besides the texts."""
_TEXTS: Final = re.compile(
    rb"(?:usr/)?lib/modules/[^/]+/(?:pkgbase|modules\.[a-z.]+)"
    rb"|usr/share/kernel/[^/]+/kernel\.release"
    rb"|(?:boot/|efi/|boot/efi/)loader/entries/[^/]+\.conf"
    rb"|nix/store/[^/]+/kernel-params"
    rb"|(?:etc|usr/lib)/kernel/(?:cmdline|entry-token)"
    rb"|etc/inittab"
    rb"|(?:etc|usr/lib)/bootc/kargs\.d/[^/]+\.toml"
)
_LOADERS: Final = (*GRUB_FILES, b"usr/lib/systemd/boot/efi/", b"usr/share/efi/")
_EFI: Final = re.compile(rb"(?:boot/efi|boot|efi|usr/lib/bootupd/updates)/EFI/.+\.efi", re.IGNORECASE)
_KERNELS: Final = re.compile(
    rb"boot/(?:vmlinuz|vmlinux|Image|kernel|initrd|initramfs|[a-z]+-ucode\.img)[^/]*"
    rb"|(?:usr/)?lib/modules/[^/]+/(?:vmlinuz|Image|bzImage|initramfs|initrd|[^/]+\.efi)[^/]*"
    rb"|boot/[^/]+\.efi"
    rb"|nix/store/[^/]+/(?:bzImage|Image|initrd)",
)


def is_text(path: bytes) -> bool:
    """Whether the file is one of the texts that tell what a tree boots with: a few hundred KB."""
    return path.startswith(KEPT_FILES) or _TEXTS.fullmatch(path) is not None


def is_wanted(path: bytes) -> bool:
    """Whether the file is a text, a kernel, an initramfs or a boot loader."""
    return (
        is_text(path)
        or path.startswith(_LOADERS)
        or _EFI.fullmatch(path) is not None
        or _KERNELS.fullmatch(path) is not None
    )

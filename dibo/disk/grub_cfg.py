"""What GRUB reads on a disk, made to fit its layout: where /boot is, and the root that the kernel mounts.

GRUB's images are made while a layer is built, and know no disk. They find /boot in two steps:

    BIOS   core.img      sources the text in the eight sectors before the first MiB, which no partition has
    UEFI   grubx64.efi   reads grub.cfg beside itself

Both say by which UUID the file system with /boot is found; from there GRUB reads its menu, grub/grub.cfg. A menu that
update-grub has written in the meantime is left alone, and so is any other file that dibo has not made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from dibo.disk.fstab import source, uuid_of
from dibo.layout.model import BOOT
from dibo.layout.placement import PlacedPartition, Placement

MENU: Final = "/boot/grub/grub.cfg"
EARLY_LBA: Final = 2040
"""The flavour `boot-files` has this number in early.cfg."""
EARLY_SIZE: Final = 4096
_OURS: Final = b"# Made with the image."
_OURS_ON_ESP: Final = b"# Finds "
_LABEL: Final = rb"cloudimg-rootfs"


def _boot(placement: Placement) -> PlacedPartition:
    return next((part for part in placement.partitions if part.wish.mount == BOOT), placement.root)


def _prefix(placement: Placement) -> str:
    """Where GRUB's directory is on its file system."""
    return "/boot/grub" if _boot(placement) is placement.root else "/grub"


def early(placement: Placement) -> bytes:
    """For BIOS: the text before the first MiB. core.img has set `disk`."""
    text = (
        f"search --no-floppy --fs-uuid --set=root --hint=$disk, {uuid_of(_boot(placement))}\n"
        f"set prefix=($root){_prefix(placement)}\n"
    )
    return text.encode().ljust(EARLY_SIZE, b"\n")


def on_esp(files: Mapping[str, bytes], placement: Placement) -> dict[str, bytes]:
    """The files for UEFI, with grub.cfg for this disk."""
    text = (
        "# Finds /boot by its UUID, on the disk that this file is on if it is there.\n"
        "regexp --set=1:disk '^([^,]+)' \"$root\"\n"
        f'search --no-floppy --fs-uuid --set=root --hint="$disk," {uuid_of(_boot(placement))}\n'
        f"set prefix=($root){_prefix(placement)}\n"
        "configfile $prefix/grub.cfg\n"
    ).encode()
    return {
        path: text if path.endswith("/grub.cfg") and data.startswith(_OURS_ON_ESP) else data
        for path, data in files.items()
    }


def menu(old: bytes, placement: Placement) -> bytes | None:
    """The menu for this disk; None where it is not the one that was made with the image."""
    if not old.startswith(_OURS):
        return None
    text = re.sub(
        rb"search --no-floppy --label " + _LABEL + rb" --set=root",
        f"search --no-floppy --fs-uuid {uuid_of(_boot(placement))} --set=root".encode(),
        old,
    )
    root = source(placement.root).encode()
    if b" " in root:
        root = f"UUID={uuid_of(placement.root)}".encode()
    text = re.sub(rb"root=LABEL=" + _LABEL + rb"(?=\s)", lambda _: b"root=" + root, text)
    if _boot(placement) is not placement.root:
        text = re.sub(rb"(?m)^(\s*(?:linux|initrd)\s+)/boot/", rb"\1/", text)
    return text

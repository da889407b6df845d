"""What GRUB reads on a disk, made to fit its layout: where /boot is, and the root that the kernel mounts.

GRUB's images are made while a layer is built, and know no disk. They find /boot in two steps:

    BIOS   core.img      sources the text in the eight sectors before the first MiB, which no partition has
    UEFI   grubx64.efi   reads grub.cfg beside itself

Both say by which UUID the file system with /boot is found, on the disk that GRUB was loaded from before any other; from
there GRUB reads its menu, grub/grub.cfg. The menu asks that disk for the PARTUUID of the root and hands it to the
kernel: two disks of one image in one machine have the same labels and file-system UUIDs, but a deployment gives each
GUIDs of its own, and nothing on the disk has to follow them. A menu that update-grub has written in the meantime is
left alone, and so is any other file that dibo has not made.
"""

from __future__ import annotations

import re
from typing import Final

from dibo.disk.fstab import source, uuid_of
from dibo.formats.partitions.identifiers import MARK, MARK_OFFSET
from dibo.layout.model import BOOT, TableType
from dibo.layout.placement import PlacedPartition, Placement
from dibo.units import SECTOR

MENU: Final = "/boot/grub/grub.cfg"
EARLY_LBA: Final = MARK_OFFSET // SECTOR
"""The flavour `boot-files` has this number in early.cfg."""
EARLY_SIZE: Final = 4096
_OURS: Final = b"# Made with the image."
_OURS_ON_ESP: Final = b"# Finds "
_LABEL: Final = rb"cloudimg-rootfs"
_PLAIN: Final = re.compile(r"[A-Za-z0-9=._-]+")
"""Needs no quoting on a command line, neither by GRUB nor by the kernel."""


def _boot(placement: Placement) -> PlacedPartition:
    return next((part for part in placement.partitions if part.wish.mount == BOOT), placement.root)


def _prefix(placement: Placement) -> str:
    """Where GRUB's directory is on its file system."""
    return "/boot/grub" if _boot(placement) is placement.root else "/grub"


def early(placement: Placement) -> bytes:
    """For BIOS: the text before the first MiB. core.img has set `disk`."""
    return _early_text(placement).encode().ljust(EARLY_SIZE, b"\n")


def early_of_layout(placement: Placement, *, with_core: bool) -> bytes:
    """The same on a disk that dibo laid out, whose identifiers a deployment may replace. Without a core image nothing
    but that is said."""
    text = _early_text(placement).encode() if with_core else b""
    return (MARK + text).ljust(EARLY_SIZE, b"\n")


def _early_text(placement: Placement) -> str:
    return (
        f"search --no-floppy --fs-uuid --set=root --hint=$disk, {uuid_of(_boot(placement))}\n"
        f"set prefix=($root){_prefix(placement)}\n"
    )


def on_esp(old: bytes, placement: Placement) -> bytes:
    """grub.cfg of the EFI system partition for this disk; the same where it is not the one that was made with the
    image."""
    if not old.startswith(_OURS_ON_ESP):
        return old
    return (
        "# Finds /boot by its UUID, on the disk that this file is on if it is there.\n"
        "regexp --set=1:disk '^([^,]+)' \"$root\"\n"
        f'search --no-floppy --fs-uuid --set=root --hint="$disk," {uuid_of(_boot(placement))}\n'
        f"set prefix=($root){_prefix(placement)}\n"
        "configfile $prefix/grub.cfg\n"
    ).encode()


def menu(old: bytes, placement: Placement) -> bytes | None:
    """The menu for this disk; None where it is not the one that was made with the image."""
    if not old.startswith(_OURS):
        return None
    text = re.sub(
        rb"search --no-floppy --label " + _LABEL + rb" --set=root",
        f"search --no-floppy --fs-uuid {uuid_of(_boot(placement))} --set=root".encode(),
        old,
    )
    text = re.sub(rb"root=LABEL=" + _LABEL + rb"(?=\s)", rb"root=$dibo_root", text)
    if _boot(placement) is not placement.root:
        text = re.sub(rb"(?m)^(\s*(?:linux|initrd)\s+)/boot/", rb"\1/", text)
    first, newline, rest = text.partition(b"\n")
    return first + newline + _root_question(placement).encode() + rest


def _root_question(placement: Placement) -> str:
    """Lines that set dibo_root to what the kernel finds its root by. $root is where the menu is read from."""
    scheme = "gpt" if placement.table is TableType.GPT else "msdos"
    partition = f"$dibo_disk,{scheme}{placement.root.number}"
    name = source(placement.root)
    if not _PLAIN.fullmatch(name):
        name = f"UUID={uuid_of(placement.root)}"
    return (
        "# The root is a partition of this disk: another one of the same image has the same labels.\n"
        "regexp --set=1:dibo_disk '^([^,]+)' \"$root\"\n"
        f'if probe --set=dibo_root --part-uuid "({partition})"; then\n'
        '\tset dibo_root="PARTUUID=$dibo_root"\n'
        "else\n"
        f'\tset dibo_root="{name}"\n'
        "fi\n"
        "export dibo_root\n"
    )

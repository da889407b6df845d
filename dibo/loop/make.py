"""The loop way to a disk: partitions, mkfs, mount, unpack from the stream, grub-install, unmount, detach.

What dibo writes itself (the table, FATs, the boot files that the root brings along) it writes here as well, to the same
places as in a plain file; the file systems are the kernel's work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dibo.contents import Several, choose
from dibo.disk.identity import Identifiers
from dibo.disk.partition import ROOT
from dibo.disk.target import Target
from dibo.errors import ImageTooSmall
from dibo.layers.load import Tree
from dibo.layers.spool import Spool
from dibo.loop import grub, mkfs
from dibo.loop.device import LoopDevice
from dibo.loop.fill import Filling
from dibo.loop.namespace import private_mounts
from dibo.mke2fs import measure, smallest
from dibo.node import Contents, Node
from dibo.report import Report
from dibo.units import GIB, MIB, human_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A file system to make, and where in the tree it goes. Offset and size in bytes of the disk."""

    kind: str
    label: str
    ids: Identifiers
    mount: PurePosixPath | None
    """None where nothing of the tree goes in."""
    offset: int
    size: int
    number: int
    """Of the partition; 0 is the whole disk."""
    device: Path | None = None
    """What to fill when it is none of these: a mapped device."""

    def where(self, device: LoopDevice) -> Path:
        if self.device is not None:
            return self.device
        return device.partition(self.number) if self.number else device.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What becomes of a loop device."""

    volumes: Sequence[Volume]
    """With one for /."""
    boot: Callable[[Target, Tree], bool]
    """Writes what is no file system of the kernel's. Whether BIOS boots it by a GRUB in a place of its own, so that
    `grub-install` has one."""
    adapted: Callable[[Node, Contents], AbstractContextManager[None]]
    """The tree with files that speak of this disk, as long as it takes; their bytes go to the contents."""
    epoch: int
    image_size: int
    size_set_by: str


def fill(
    device: LoopDevice,
    wish: Wish,
    *,
    load: Callable[[Contents], Tree],
    spool: Spool | None,
    top: Path,
    report: Report,
) -> Tree:
    """Make the disk on `device`. `top` is an empty directory to mount it at. `load` reads the root into Contents.

    Raises LoopError, ImageTooSmall, OutputError, and what `load` and `wish.boot` raise.
    """
    device.add_partitions((each.number, each.offset, each.size) for each in wish.volumes if each.number)
    for volume in wish.volumes:
        mkfs.make(
            volume.kind,
            volume.where(device),
            label=volume.label,
            ids=volume.ids,
            epoch=wish.epoch,
            size=volume.size,
        )
    with private_mounts() as mounts:
        for where, volume in _in_order_of_mounting(wish.volumes):
            target = top / where.relative_to("/")
            target.mkdir(parents=True, exist_ok=True)
            mounts.mount(
                volume.where(device), target, kind=volume.kind, options=_OPTIONS.get(volume.kind, "")
            )
        tree = _unpack(top, wish, load, spool)
        if wish.boot(device, tree):
            device.sync()
            if grub.can_install(tree.root):
                grub.install(top, device, mounts, root=tree.root, epoch=wish.epoch, on_line=report.line)
    device.sync()
    return tree


def _in_order_of_mounting(volumes: Sequence[Volume]) -> list[tuple[PurePosixPath, Volume]]:
    found = [(volume.mount, volume) for volume in volumes if volume.mount is not None]
    return sorted(found, key=lambda each: len(each[0].parts))


_OPTIONS = {"ext4": "noinit_itable"}
"""A fresh file reads as zeros: there is nothing to initialise behind our back."""


def _unpack(top: Path, wish: Wish, load: Callable[[Contents], Tree], spool: Spool | None) -> Tree:
    filling = Filling(top, epoch=wish.epoch)
    try:
        tree = load(filling if spool is None else Several(filling, spool))
        everywhere: dict[Node, object] = {}
        if spool is not None:
            choose(tree.root, 0, everywhere)
        with wish.adapted(tree.root, filling):
            filling.finish(tree.root)
        if spool is not None:
            choose(tree.root, 1, everywhere)
    finally:
        filling.close()
    if filling.full:
        raise _too_small(tree, wish)
    return tree


def _too_small(tree: Tree, wish: Wish) -> ImageTooSmall:
    root = next(volume for volume in wish.volumes if volume.mount == ROOT)
    usage = measure(tree.root)
    kind = root.kind if root.kind in mkfs.EXT else "ext4"
    needed = smallest(usage, at_least=root.size + MIB, type=kind)
    if kind != root.kind:  # nobody knows what the others take before they take it
        needed += needed // 10
    enough = math.ceil((wish.image_size + needed - root.size) * 10 / GIB)
    return ImageTooSmall(
        f"the root file system ({human_size(tree.bytes)} in {tree.entries} files) does not fit an image of "
        f"{human_size(wish.image_size)}: about {human_size(needed - root.size)} are missing",
        hint=f"{wish.size_set_by} set the size; "
        f"--image-size {enough / 10:g} (or IMAGE_SIZE={enough / 10:g}) is enough",
        enough=enough * GIB // 10,
    )

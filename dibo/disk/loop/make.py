"""File systems that the kernel writes: mkfs, private mounts, contents from the stream, `grub-install` last.

/dev/loop0p2 ─ mkfs ─ mount ─ TOP/root    ◄── Filling of the root file system
/dev/loop0p3 ─ mkfs ─ mount ─ TOP/var     ◄── Filling of another
TOP/whole: the same file systems again, in each other as a machine has them, for grub-install
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.disk.loop import grub, mkfs
from dibo.disk.loop.fill import Filling
from dibo.layout.model import ROOT
from dibo.layout.placement import PlacedPartition
from dibo.system.loop.device import LoopDevice
from dibo.system.loop.namespace import Mounts, private_mounts
from dibo.system.process import OnOutput
from dibo.tree.node import Node

_OPTIONS: Final = {"ext4": "noinit_itable"}
"""A fresh file reads as zeros: there is nothing to initialise behind our back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByKernel:
    """A disk whose file systems are mounted."""

    device: LoopDevice
    volumes: Mapping[str, tuple[PlacedPartition, Path, str]]
    """By name: the partition, the block device of its file system, and its type."""
    writers: Mapping[str, Filling]
    mounts: Mounts
    top: Path

    def install_grub(self, root: Node, *, epoch: int, on_output: OnOutput) -> None:
        """Let the root install its GRUB for BIOS, where it has one. Nothing is written through `writers` any more.
        Raises LoopError."""
        if not grub.can_install(root):
            return
        self.device.sync()
        mounted = [volume for volume in self.volumes.values() if volume[0].wish.mount is not None]
        for part, path, kind in sorted(mounted, key=lambda volume: len((volume[0].wish.mount or ROOT).parts)):
            target = self.top / "whole" / (part.wish.mount or ROOT).relative_to("/")
            target.mkdir(exist_ok=True)
            self.mounts.mount(path, target, kind=kind, options=_OPTIONS.get(kind, ""))
        grub.install(
            self.top / "whole", self.device, self.mounts, root=root, epoch=epoch, on_output=on_output
        )


@contextmanager
def by_kernel(
    device: LoopDevice,
    parts: Sequence[PlacedPartition],
    *,
    root_type: str,
    mapped: Path | None,
    epoch: int,
    top: Path,
) -> Iterator[ByKernel]:
    """Make the file systems of `parts` on `device`, and mount them below `top`, an empty directory, as long as the
    `with` lasts. The root's is of the type `root_type`, and on `mapped` where that is given.

    Raises LoopError, ImageTooSmall, ToolMissing.
    """
    device.add_partitions((part.number, part.offset, part.size) for part in parts if part.number)
    volumes = {}
    for part in parts:
        path, kind = device.partition(part.number) if part.number else device.path, ""
        if part.wish.mount == ROOT:
            path, kind = mapped or path, root_type
        elif part.wish.filesystem is not None:
            kind = part.wish.filesystem.value
        mkfs.make(kind, path, label=part.wish.label, ids=part.ids, epoch=epoch, size=part.size)
        volumes[part.wish.name] = part, path, kind
    with private_mounts() as mounts, ExitStack() as undo:
        writers = {}
        for name, (part, path, kind) in volumes.items():
            if part.wish.mount is not None:
                target = top / name
                target.mkdir()
                mounts.mount(path, target, kind=kind, options=_OPTIONS.get(kind, ""))
                writers[name] = Filling(target, size=part.size, epoch=epoch)
                undo.callback(writers[name].close)
        yield ByKernel(device=device, volumes=volumes, writers=writers, mounts=mounts, top=top)
        undo.close()
    device.sync()

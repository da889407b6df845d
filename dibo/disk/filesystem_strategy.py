"""Who makes each file system of a disk: always the way that needs the fewest privileges.

ext4, vfat, swap                     dibo's own writers; they need nothing
ext3, ext2, of a root                mke2fs -d, from a directory: an engine gives the root as one
xfs, btrfs, with nothing in them     their mkfs, on a file
xfs, with files                      mkfs.xfs -p, from a list of them, which has no times, attributes or sticky bits
btrfs, with files                    mkfs.btrfs --rootdir, from a directory as above
what cannot be made so               loop-disk: needs root
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from dibo.layout.model import ROOT, FileSystemType, Partition, PartitionContent


class Way(Enum):
    """Values are for people."""

    OWN = "dibo"
    PROGRAM = "program"
    LOOP = "loop-disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How a file system is made, by what, and why so."""

    way: Way
    program: str = ""
    needs_directory: bool = False
    reason: str

    def __str__(self) -> str:
        return self.program if self.way is Way.PROGRAM else self.way.value


_OWN: Final = (FileSystemType.EXT4, FileSystemType.VFAT, FileSystemType.SWAP)
ELDERS: Final = ("ext3", "ext2")
"""What FS_TYPE can make of an ext4 root."""


def choose_way(
    partition: Partition,
    *,
    filesystem: str = "",
    directory: bool = True,
    loop: bool = False,
    options: bool = False,
) -> Choice | None:
    """The way for one partition; None where nothing is made. `filesystem` says what FS_TYPE makes of the root's,
    `directory` whether there can be one with the root in it; `loop` is the user's wish, and `options` says that there
    are some for mke2fs, of the root."""
    kind = partition.filesystem
    if loop and kind not in (None, FileSystemType.VFAT, FileSystemType.SWAP):
        return Choice(way=Way.LOOP, reason="--loop asks for it")
    if filesystem in ELDERS and kind is FileSystemType.EXT4:
        return Choice(
            way=Way.PROGRAM,
            program="mke2fs",
            needs_directory=True,
            reason=f"dibo's own writer makes ext4, not {filesystem}; mke2fs makes it from a directory, without root",
        )
    if options and filesystem and kind is FileSystemType.EXT4:
        return Choice(
            way=Way.PROGRAM,
            program="mke2fs",
            needs_directory=True,
            reason="there are options for mke2fs, which makes it from a directory, without root",
        )
    if kind is None and partition.content is not PartitionContent.GRUB_CORE:
        return None
    if kind is FileSystemType.XFS:
        return _xfs(partition)
    if kind is FileSystemType.BTRFS:
        return _btrfs(partition, directory=directory)
    return Choice(way=Way.OWN, reason="dibo writes it itself, with no privileges")


def _xfs(partition: Partition) -> Choice:
    if partition.mount == ROOT:
        return Choice(
            way=Way.LOOP,
            reason="without root, mkfs.xfs fills a file system from a list of files that has no times, no attributes"
            " and no sticky bits, and a root has all of them",
        )
    return Choice(
        way=Way.PROGRAM,
        program="mkfs.xfs",
        reason="mkfs.xfs fills it from a list of files, without root",
    )


def _btrfs(partition: Partition, *, directory: bool) -> Choice:
    if partition.mount == ROOT and not directory:
        return Choice(
            way=Way.LOOP,
            reason="without root, mkfs.btrfs fills a file system from a directory, and there is none: only a build with"
            " the engine buildah gives one",
        )
    return Choice(
        way=Way.PROGRAM,
        program="mkfs.btrfs",
        needs_directory=partition.mount is not None,
        reason="mkfs.btrfs fills it from a directory, without root",
    )

"""Who makes each file system of a disk: always the way that needs the fewest privileges.

ext4, vfat, swap                     dibo's own writers; they need nothing
ext3, ext2, of a root                mke2fs -d, from a directory: an engine gives the root as one
xfs, btrfs, mounted nowhere          their mkfs, on a file
xfs, btrfs, with files in them       mkfs.xfs -p, mkfs.btrfs --rootdir, from a directory
xfs, btrfs, where that cannot be     loop-disk: needs root
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from dibo.disk.partition import Content, FileSystem, Partition


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
    reason: str

    def __str__(self) -> str:
        return self.program if self.way is Way.PROGRAM else self.way.value


_OWN: Final = (FileSystem.EXT4, FileSystem.VFAT, FileSystem.SWAP)
ELDERS: Final = ("ext3", "ext2")
"""What FS_TYPE can make of an ext4 root."""


def choose_way(partition: Partition, *, filesystem: str = "") -> Choice | None:
    """The way for one partition; `filesystem` says what FS_TYPE makes of the root's. None where nothing is made."""
    kind = partition.filesystem
    if filesystem in ELDERS and kind is FileSystem.EXT4:
        return Choice(
            way=Way.PROGRAM,
            program="mke2fs",
            reason=f"dibo has a writer for ext4, and {filesystem} is made from a directory",
        )
    if kind is None or kind in _OWN:
        if kind is None and partition.content is not Content.GRUB_CORE:
            return None
        return Choice(way=Way.OWN, reason="dibo writes it itself, without any privileges")
    return Choice(
        way=Way.PROGRAM,
        program=f"mkfs.{kind.value}",
        reason=f"dibo has no writer for {kind.value}; its own program makes it from a directory, without root",
    )

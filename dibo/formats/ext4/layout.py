"""What follows from the size alone: block groups, where copies of the superblock lie, and the journal's size.

A file system is divided into groups of 32768 blocks of 4 KiB, as many as one block of bitmap has bits (kernel
documentation, filesystems/ext4/blockgroup.rst). Groups 0, 1 and the powers of 3, 5 and 7 begin with a copy of the
superblock (sparse_super); these blocks have fixed places, all others can be put anywhere (flex_bg):

    | superblock | group descriptors | reserved for more of them | free …
      1 block      64 bytes a group    resize_inode: until there are 1024 times as many groups, at most 1024 blocks

The first 1024 bytes of the file system are left alone: they are the boot loader's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from dibo.formats.ext4.errors import Ext4Error
from dibo.formats.ext4.structures import LABEL_BYTES

BLOCK: Final = 4096
GROUP: Final = 32768
"""Blocks in a group."""
FLEX: Final = 16
"""Groups whose bitmaps and inode tables lie together (flex_bg)."""
INODE: Final = 256
"""Bytes of an inode."""
INODES_PER_BLOCK: Final = BLOCK // INODE
DESCRIPTOR: Final = 64
MAX_INODES_PER_GROUP: Final = 8 * BLOCK
FIRST_INODE: Final = 11
"""lost+found; those before it are reserved (kernel documentation, filesystems/ext4/special_inodes.rst)."""
BYTES_PER_INODE: Final = 16384
"""mke2fs' inode_ratio."""
MAX_BLOCKS: Final = 2**32 - 1
"""The resize inode knows its blocks by 32 bits. 16 TiB."""
LEAST_IN_LAST_GROUP: Final = 50
"""ext2fs_initialize() of e2fsprogs' lib/ext2fs/initialize.c drops a last group that has fewer blocks for data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What the caller decides. The same parameters and calls give the same bytes."""

    size: int
    """Bytes from the first to the last of the file system, a multiple of 4096."""
    offset: int = 0
    """Byte of the target where it begins."""
    label: str = ""
    """At most 16 bytes of UTF-8."""
    uuid: UUID
    hash_seed: UUID
    """Of the hashes of names in large directories."""
    time: int = 0
    """Seconds since 1970: when the file system was made."""
    inodes: int | None = None
    """There are at least so many, one for each 16 KiB of the size, and a quarter more than are used."""
    journal: bool | int = True
    """Its blocks, from 1024 on; True: as many as mke2fs takes, which is none below 8 MiB."""
    reserved_percent: float = 5
    """Of the blocks, for root alone. 5 is mke2fs' default, which cloud images keep."""

    def __post_init__(self) -> None:
        if self.size % BLOCK or self.size <= 0 or self.size // BLOCK > MAX_BLOCKS:
            raise Ext4Error(f"a size of {self.size} bytes is not a multiple of {BLOCK} below 16 TiB")
        if len(self.label.encode()) > LABEL_BYTES or "\0" in self.label:
            raise Ext4Error(f"the label {self.label!r} is longer than {LABEL_BYTES} bytes, or contains NUL")
        if not 0 <= self.reserved_percent <= 50:
            raise Ext4Error(f"{self.reserved_percent} % of blocks reserved: expected at most 50")
        if self.journal is not True and self.journal and not 1024 <= self.journal <= 10240000:
            raise Ext4Error(f"a journal of {self.journal} blocks: it has 1024 to 10240000")
        if self.inodes is not None and not 0 <= self.inodes <= MAX_BLOCKS:
            raise Ext4Error(f"{self.inodes} inodes: there are at most 2**32 - 1")
        if not 0 <= self.time < 2**40:
            raise Ext4Error(f"the time {self.time} does not fit a superblock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ext4Layout:
    """Fixed places in a file system of some size. Numbers are blocks."""

    blocks: int
    groups: int
    descriptor_blocks: int
    reserved_descriptor_blocks: int
    journal_blocks: int
    least_inodes: int
    """For the size and as asked for, whatever is stored."""

    @property
    def copy(self) -> int:
        """Blocks of one copy: superblock, descriptors, room for more."""
        return 1 + self.descriptor_blocks + self.reserved_descriptor_blocks

    def group_size(self, group: int) -> int:
        return min(GROUP, self.blocks - group * GROUP)

    def copies(self) -> list[int]:
        """The groups that begin with a copy."""
        return [group for group in sparse_groups() if group < self.groups]

    def gaps(self) -> list[tuple[int, int]]:
        """What is between the copies: first block, and the one after the last."""
        starts = [group * GROUP for group in self.copies()]
        ends = [*starts[1:], self.blocks]
        return [
            (start + self.copy, end)
            for start, end in zip(starts, ends, strict=True)
            if start + self.copy < end
        ]

    def inodes_per_group(self, inodes: int) -> int:
        """At least `inodes` inodes in all, whole blocks of them in each group. Can be more than a group may have."""
        count = max(-(-inodes // self.groups), FIRST_INODE + 1)
        return -(-count // INODES_PER_BLOCK) * INODES_PER_BLOCK


def layout(parameters: Parameters) -> Ext4Layout:
    """Raises Ext4Error where there is no room for one group."""
    return layout_of(parameters.size // BLOCK, parameters)


def layout_of(blocks: int, parameters: Parameters) -> Ext4Layout:
    """As `layout`, for another size than that of `parameters`."""
    given = blocks
    while True:
        groups = -(-blocks // GROUP)
        descriptors = -(-groups * DESCRIPTOR // BLOCK)
        result = Ext4Layout(
            blocks=blocks,
            groups=groups,
            descriptor_blocks=descriptors,
            reserved_descriptor_blocks=reserved_descriptor_blocks(blocks, descriptors),
            journal_blocks=journal_blocks(blocks, parameters.journal),
            least_inodes=max(given * BLOCK // BYTES_PER_INODE, parameters.inodes or 0),
        )
        table = result.inodes_per_group(result.least_inodes) // INODES_PER_BLOCK
        taken = 2 + table + (result.copy if groups - 1 in result.copies() else 0)
        last = result.group_size(groups - 1)
        if last == GROUP or last >= taken + LEAST_IN_LAST_GROUP:
            return result
        if groups == 1:
            # NoSpace would need to know how much; nobody makes file systems as small as this by intent.
            if last > result.copy + 2:
                return result
            raise Ext4Error(f"{given * BLOCK} bytes are too few for a file system")
        blocks -= last


def reserved_descriptor_blocks(blocks: int, descriptors: int) -> int:
    """calc_reserved_gdt_blocks() of e2fsprogs' lib/ext2fs/initialize.c."""
    groups = -(-min(blocks * 1024, MAX_BLOCKS) // GROUP)
    return max(0, min(1024, -(-groups * DESCRIPTOR // BLOCK) - descriptors))


def journal_blocks(blocks: int, wish: bool | int = True) -> int:
    """ext2fs_default_journal_size() of e2fsprogs' lib/ext2fs/mkjournal.c."""
    if wish is not True:
        return int(wish)
    for limit, journal in (
        (2048, 0), (32768, 1024), (256 * 1024, 4096), (512 * 1024, 8192),
        (4096 * 1024, 16384), (8192 * 1024, 32768), (16384 * 1024, 65536), (32768 * 1024, 131072),
    ):  # fmt: skip
        if blocks < limit:
            return journal
    return 262144


def sparse_groups() -> Iterator[int]:
    """Groups with a copy, in order, as far as file systems go."""
    powers = {
        base**power for base in (3, 5, 7) for power in range(1, 12) if base**power <= MAX_BLOCKS // GROUP
    }
    yield from (0, 1, *sorted(powers))

"""Block groups: where their bitmaps and inode tables are, bitmaps, and descriptors.

A descriptor (kernel documentation, filesystems/ext4/group_descr.rst) has 64 bytes; low halves, then high ones:

    0x00 block bitmap, inode bitmap, inode table u32 | free blocks, free inodes, directories, flags u16
    0x14 unused u32 | checksums of block bitmap, inode bitmap u16 | inodes never used u16 | own checksum u16
    0x20 the same, high

Groups without files of their own have no bitmap on the disk, only a flag: INODE_UNINIT, BLOCK_UNINIT. BLOCK_UNINIT
means that nothing but the group's own copy of the superblock is in use; the first and last group never have it, as
with mke2fs. All inode tables read as zeros where they are unused, so the kernel need not wipe them: INODE_ZEROED.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from dibo.formats.ext4.checksum import Checksums, extend, stored
from dibo.formats.ext4.layout import BLOCK, FLEX, GROUP, INODES_PER_BLOCK, Ext4Layout
from dibo.formats.ext4.output import Output
from dibo.formats.ext4.space import FreeSpace

_DESCRIPTOR: Final = struct.Struct("<IIIHHHHIHHHHIIIHHHHIHHI").pack
_INODE_UNINIT: Final = 1
_BLOCK_UNINIT: Final = 2
_INODE_ZEROED: Final = 4
_FULL: Final = b"\xff" * BLOCK


@dataclass(slots=True, kw_only=True)
class Tables:
    """Where each group has its block bitmap, inode bitmap and inode table."""

    inodes_per_group: int
    block_bitmaps: list[int] = field(default_factory=list)
    inode_bitmaps: list[int] = field(default_factory=list)
    tables: list[int] = field(default_factory=list)


def place_tables(space: FreeSpace, layout: Ext4Layout, inodes_per_group: int, cursor: int) -> Tables:
    """Bitmaps and tables of 16 groups together, at the beginning of these groups, or behind the data at `cursor`."""
    result = Tables(inodes_per_group=inodes_per_group)
    blocks = inodes_per_group // INODES_PER_BLOCK
    for first in range(0, layout.groups, FLEX):
        count = min(FLEX, layout.groups - first)
        near = max(first * GROUP, cursor)
        bitmaps = _row(space, [1] * (2 * count), near)
        result.block_bitmaps += bitmaps[:count]
        result.inode_bitmaps += bitmaps[count:]
        result.tables += _row(space, [blocks] * count, near)
    return result


def _row(space: FreeSpace, sizes: list[int], near: int) -> list[int]:
    """Places for things of these sizes: in a row, or each for itself where there is no room for that."""
    start = space.contiguous(sum(sizes), near)
    if start is not None:
        return [start + sum(sizes[:at]) for at in range(len(sizes))]
    starts = []
    for size in sizes:
        start = space.contiguous(size, near)
        starts.append(space.beyond(size) if start is None else start)
    return starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptors:
    data: bytes
    free_blocks: int
    free_inodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedSpace:
    """What of a file system is in use."""

    free: list[tuple[int, int]]
    """Runs of free blocks: the first, and the one after the last."""
    last_inode: int
    """All up to it are in use, none behind."""
    directories: list[int]
    """How many each of the first groups has."""


def write_groups(
    output: Output, layout: Ext4Layout, tables: Tables, checksums: Checksums, usage: UsedSpace
) -> Descriptors:
    """Write the bitmaps."""
    parts = []
    free_blocks = free_inodes = 0
    copies = set(layout.copies())
    per_group = tables.inodes_per_group
    full = checksums.of(_FULL)
    at = 0
    for group in range(layout.groups):
        start = group * GROUP
        size = layout.group_size(group)
        holes, at = _holes(usage.free, at, start, start + size)
        unused = sum([end - begin for begin, end in holes])
        used_inodes = min(max(usage.last_inode - group * per_group, 0), per_group)
        flags = _INODE_ZEROED
        block_checksum = inode_checksum = 0
        own = layout.copy if group in copies else 0
        if unused == size - own and group not in (0, layout.groups - 1):
            flags |= _BLOCK_UNINIT
        elif not unused:
            block_checksum = full
            output.put(tables.block_bitmaps[group], _FULL)
        else:
            bitmap = _bitmap(holes, start)
            block_checksum = checksums.of(bitmap)
            output.put(tables.block_bitmaps[group], bitmap)
        if used_inodes:
            bitmap = _bitmap([(used_inodes, per_group)], 0)
            inode_checksum = checksums.of(bitmap[: per_group // 8])
            output.put(tables.inode_bitmaps[group], bitmap)
        else:
            flags |= _INODE_UNINIT
        parts.append(
            _descriptor(
                _Group(
                    number=group,
                    block_bitmap=tables.block_bitmaps[group],
                    inode_bitmap=tables.inode_bitmaps[group],
                    table=tables.tables[group],
                    free_blocks=unused,
                    free_inodes=per_group - used_inodes,
                    directories=usage.directories[group] if group < len(usage.directories) else 0,
                    flags=flags,
                    block_checksum=block_checksum,
                    inode_checksum=inode_checksum,
                ),
                checksums.seed,
            )
        )
        free_blocks += unused
        free_inodes += per_group - used_inodes
    return Descriptors(data=b"".join(parts), free_blocks=free_blocks, free_inodes=free_inodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """What the descriptor of a group says."""

    number: int
    block_bitmap: int
    inode_bitmap: int
    table: int
    free_blocks: int
    free_inodes: int
    """Those at the end of the group: they were never used."""
    directories: int
    flags: int
    block_checksum: int
    inode_checksum: int


def _descriptor(group: _Group, seed: int) -> bytes:
    inodes = group.free_inodes
    low = (
        group.block_bitmap & 0xFFFFFFFF, group.inode_bitmap & 0xFFFFFFFF, group.table & 0xFFFFFFFF,
        group.free_blocks & 0xFFFF, inodes & 0xFFFF, group.directories & 0xFFFF, group.flags, 0,
        group.block_checksum & 0xFFFF, group.inode_checksum & 0xFFFF, inodes & 0xFFFF,
    )  # fmt: skip
    high = (
        group.block_bitmap >> 32, group.inode_bitmap >> 32, group.table >> 32, group.free_blocks >> 16, inodes >> 16,
        group.directories >> 16, inodes >> 16, 0, group.block_checksum >> 16, group.inode_checksum >> 16, 0,
    )  # fmt: skip
    crc = extend(extend(seed, group.number.to_bytes(4, "little")), _DESCRIPTOR(*low, 0, *high))
    return _DESCRIPTOR(*low, stored(crc) & 0xFFFF, *high)


def _holes(free: list[tuple[int, int]], at: int, start: int, end: int) -> tuple[list[tuple[int, int]], int]:
    """What of `free`, from its run `at` on, lies between `start` and `end`; and the run to go on with."""
    holes = []
    while at < len(free) and free[at][0] < end:
        begin, stop = free[at]
        if stop > start:
            holes.append((max(begin, start), min(stop, end)))
        if stop > end:
            break
        at += 1
    return holes, at


def _bitmap(holes: list[tuple[int, int]], base: int) -> bytes:
    """A block of ones, with zeros for `holes`: the first and the one after the last, counted from `base`
    (kernel documentation, filesystems/ext4/bitmaps.rst). What is behind the group's end stays one."""
    bits = bytearray(_FULL)
    for begin, end in holes:
        begin -= base
        end -= base
        if begin == end:
            continue
        first, last = begin // 8, end // 8
        if first == last:
            bits[first] &= ~((1 << end % 8) - (1 << begin % 8)) & 0xFF
            continue
        bits[first] &= (1 << begin % 8) - 1
        bits[first + 1 : last] = bytes(last - first - 1)
        if end % 8:
            bits[last] &= ~((1 << end % 8) - 1) & 0xFF
    return bytes(bits)

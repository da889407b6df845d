"""Where the blocks of a file are in ext2, ext3 and ext4: a tree of extents, or blocks of block numbers.

    extents (flag 0x80000): nodes             header u16 0xf30a, entries, room, depth, u32
      in 60 bytes of the inode,               leaf   u32 logical, u16 count, u16 high, u32 low of the block
      below them blocks                       index  u32 logical, u32 low, u16 high of the node below
      a count above 32768 is that much less, and reads as zeros

    otherwise 15 u32 in the inode: 12 blocks, then one each of blocks of 1, 2 and 3 levels of u32; 0 is a hole

Linux kernel documentation: filesystems/ext4/dynamic.rst ("The Contents of inode.i_block").
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final

from dibo.errors import DiskImageError

Run = tuple[int, int, int]
"""First block of the file, first block of the file system, how many."""
Block = Callable[[int], bytes]

_MAGIC: Final = 0xF30A
_DEEPEST: Final = 5
_MOST_NODES: Final = 1 << 16
_UNWRITTEN: Final = 1 << 15
_DIRECT: Final = 12


def extents(root: bytes, block: Block, blocks: int) -> Iterator[Run]:
    """Runs in order, of the first `blocks` of the file; what lies between them, and what is not written yet, is left
    out. `block` reads a block of the file system."""
    nodes = 0
    reached = 0

    def below(node: bytes, depth: int | None) -> Iterator[Run]:
        nonlocal nodes, reached
        nodes += 1
        magic, entries, _, level = struct.unpack_from("<HHHH", node)
        if magic != _MAGIC or nodes > _MOST_NODES or level > _DEEPEST or depth not in (None, level):
            raise DiskImageError("a tree of extents is damaged")
        if 12 + 12 * entries > len(node):
            raise DiskImageError(f"a tree of extents has {entries} entries in a node of {len(node)} bytes")
        for at in range(12, 12 + 12 * entries, 12):
            if level:
                _, low, high = struct.unpack_from("<IIH", node, at)
                yield from below(block(low | high << 32), level - 1)
                continue
            logical, count, high, low = struct.unpack_from("<IHHI", node, at)
            written = count <= _UNWRITTEN
            count -= 0 if written else _UNWRITTEN
            if logical < reached or not count:
                raise DiskImageError("a tree of extents has extents out of order")
            reached = logical + count
            if written and logical < blocks:
                yield logical, low | high << 32, min(count, blocks - logical)

    yield from below(root, None)


def indirect(root: bytes, block: Block, blocks: int) -> Iterator[Run]:
    """The same of a file without extents."""
    numbers = struct.unpack_from("<15I", root)
    per_block = 0

    def below(number: int, level: int, logical: int) -> Iterator[tuple[int, int]]:
        if not number or logical >= blocks:
            return
        if not level:
            yield logical, number
            return
        span = per_block ** (level - 1)
        for index, child in enumerate(struct.unpack(f"<{per_block}I", block(number))):
            if logical + index * span >= blocks:
                return
            yield from below(child, level - 1, logical + index * span)

    def pairs() -> Iterator[tuple[int, int]]:
        nonlocal per_block
        for logical, number in enumerate(numbers[:_DIRECT]):
            yield from below(number, 0, logical)
        if blocks <= _DIRECT:
            return
        per_block = len(block(1)) // 4
        logical = _DIRECT
        for level in (1, 2, 3):
            yield from below(numbers[_DIRECT + level - 1], level, logical)
            logical += per_block**level

    start = first = count = 0
    for logical, number in pairs():
        if count and logical == start + count and number == first + count:
            count += 1
            continue
        if count:
            yield start, first, count
        start, first, count = logical, number, 1
    if count:
        yield start, first, count

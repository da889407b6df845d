"""Extent trees: where the blocks of a file are (kernel documentation, filesystems/ext4/ifork.rst).

Every node, the 60 bytes in the inode among them, is a header and entries of 12 bytes:

    header   magic 0xF30A u16 | entries u16 | room for u16 | depth u16 | generation u32
    extent   first block in the file u32 | blocks u16 | on the disk: high u16, low u32        (depth 0)
    index    first block in the file u32 | node, low u32, high u16 | unused u16               (above)

The inode has room for four entries, a block for 340, and behind them the checksum of inode and block, u32.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final

from dibo.formats.ext4.checksum import extend, stored
from dibo.formats.ext4.errors import Ext4Error
from dibo.formats.ext4.layout import BLOCK

MAX_LENGTH: Final = 32768
"""Blocks of one extent; larger numbers mean blocks that were allocated but not written."""
IN_INODE: Final = 4
IN_BLOCK: Final = (BLOCK - 12 - 4) // 12
_MAX_DEPTH: Final = 5
_MAGIC: Final = 0xF30A
_HEADER: Final = struct.Struct("<HHHHI")
_ENTRY: Final = struct.Struct("<IHHI")
_INDEX: Final = struct.Struct("<IIHH")
_ONE: Final = struct.Struct("<HHHHIIHHI36x").pack
EMPTY: Final = _HEADER.pack(_MAGIC, 0, IN_INODE, 0, 0) + bytes(48)

Run = tuple[int, int, int]
"""First block in the file, first block on the disk, count."""


def extent_tree(
    runs: Sequence[Run], seed: int, take: Callable[[], int], put: Callable[[int, bytes], None]
) -> tuple[bytes, int]:
    """The 60 bytes for the inode, and how many blocks were taken by `take` and written by `put` for the tree.

    `seed` is where the inode's checksums start.
    """
    if len(runs) == 1:
        logical, start, count = runs[0]
        if count <= MAX_LENGTH:
            return _ONE(_MAGIC, 1, IN_INODE, 0, 0, logical, count, start >> 32, start & 0xFFFFFFFF), 0
    if not runs:
        return EMPTY, 0
    entries = [
        (logical, _ENTRY.pack(logical, count, start >> 32, start & 0xFFFFFFFF))
        for logical, start, count in _split(runs)
    ]
    depth = taken = 0
    while len(entries) > IN_INODE:
        above = []
        for at in range(0, len(entries), IN_BLOCK):
            part = entries[at : at + IN_BLOCK]
            node = _HEADER.pack(_MAGIC, len(part), IN_BLOCK, depth, 0) + b"".join(entry for _, entry in part)
            node = node.ljust(BLOCK - 4, b"\0")
            block = take()
            taken += 1
            put(block, node + stored(extend(seed, node)).to_bytes(4, "little"))
            above.append((part[0][0], _INDEX.pack(part[0][0], block & 0xFFFFFFFF, block >> 32, 0)))
        entries = above
        depth += 1
        if depth > _MAX_DEPTH:
            raise Ext4Error("a file in too many pieces for an extent tree")
    inside = _HEADER.pack(_MAGIC, len(entries), IN_INODE, depth, 0) + b"".join(entry for _, entry in entries)
    return inside.ljust(60, b"\0"), taken


def _split(runs: Sequence[Run]) -> list[Run]:
    """Runs as extents: of at most MAX_LENGTH blocks."""
    extents = []
    for logical, start, count in runs:
        for done in range(0, count, MAX_LENGTH):
            extents.append((logical + done, start + done, min(MAX_LENGTH, count - done)))
    return extents

"""What belongs to the file system itself: the journal, and the inode that keeps room for growing.

The journal (kernel documentation, filesystems/ext4/journal.rst) is a file whose first block is its superblock, big end
first; the rest reads as zeros, nothing is to be replayed.

The resize inode (ext2fs_create_resize_inode() of e2fsprogs' lib/ext2fs/res_gdt.c) is a file in the old way of block
maps: its double-indirect block points to the reserved blocks of the first copy of the group descriptors, and each of
those, read as an indirect block, points to the same block of the other copies:

    inode 7 ── double-indirect block ┬─ reserved block 1 of group 0 ┬─ reserved block 1 of group 1
                                     ├─ reserved block 2 …          └─ reserved block 1 of group 3 …
"""

from __future__ import annotations

import struct
from typing import Final

from dibo.formats.ext4.layout import BLOCK, GROUP, Ext4Layout
from dibo.formats.ext4.output import Output

_POINTERS: Final = BLOCK // 4
_DIRECT: Final = 12
RESIZE_SIZE: Final = (_POINTERS * _POINTERS + _POINTERS + _DIRECT) * BLOCK
"""As long as a file that uses direct, indirect and double-indirect blocks can be."""


def journal_superblock(blocks: int, uuid: bytes) -> bytes:
    """Of an empty journal of so many blocks."""
    head = struct.pack(">IIIIIIIII12x16sI", 0xC03B3998, 4, 0, BLOCK, blocks, 1, 1, 0, 0, uuid, 1)
    return head.ljust(1024, b"\0")


def resize_inode_block(output: Output, layout: Ext4Layout, double: int) -> tuple[bytes, int]:
    """Write the maps, with the double-indirect block at `double`. The 60 bytes for the inode, and how many blocks
    belong to it."""
    copies = [group * GROUP for group in layout.copies()]
    others = copies[1:]
    first = 1 + layout.descriptor_blocks
    pointers = [0] * _POINTERS
    for number in range(layout.reserved_descriptor_blocks):
        pointers[(layout.descriptor_blocks + number) % _POINTERS] = first + number
        if others:
            places = [start + first + number for start in others]
            output.put(first + number, struct.pack(f"<{len(places)}I", *places).ljust(BLOCK, b"\0"))
    output.put(double, struct.pack(f"<{_POINTERS}I", *pointers))
    return struct.pack("<13I8x", *[0] * 13)[:52] + struct.pack("<II", double, 0), (
        1 + layout.reserved_descriptor_blocks * len(copies)
    )

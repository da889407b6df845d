"""On-disk structures of erofs, all little-endian (the kernel's fs/erofs/erofs_fs.h and
Documentation/filesystems/erofs.rst).

    superblock, at byte 1024   magic u32 | checksum u32 | compatible features u32 | log2 of the block u8 | more slots u8
                               | root's number u16 | inodes u64 | time u64 | its ns u32 | blocks u32 | metadata begins
                               | at block u32 | shared attributes at block u32 | UUID 16s | name 16s | incompatible
                               | features u32 | 44 bytes of features that are not used here
    inode, 64 bytes            format u16 | attributes u16 | mode u16 | 0 u16 | size u64 | block or device u32
                               | number for stat(2) u32 | uid u32 | gid u32 | mtime i64 | its ns u32 | links u32
                               | 16 × 0
    directory entry            node number u64 | offset of the name u16 | type u8 | 0 u8
    attribute                  length of the name u8 | prefix u8 | size of the value u16 | name | value

A node number counts 32 bytes from the beginning of the metadata.
"""

from __future__ import annotations

import stat
import struct
from typing import Final

MAGIC: Final = 0xE0F5E1E2
BLOCK: Final = 4096
BLOCK_BITS: Final = 12
SUPERBLOCK_AT: Final = 1024
SLOT: Final = 32
"""Bytes that node numbers count."""
CHECKSUM: Final = 0x1
MTIME: Final = 0x2
"""Compatible features: the superblock has a checksum; times of inodes are of their content."""
MAX_BLOCKS: Final = 2**32 - 1
"""Block addresses have 32 bits: 16 TiB."""

SUPERBLOCK: Final = struct.Struct("<IIIBBHQQIIII16s16sI44x")
CHECKSUM_AT: Final = 4
INODE: Final = struct.Struct("<HHHHQIIIIqII16x")
ENTRY: Final = struct.Struct("<QHBx")
ATTRIBUTE: Final = struct.Struct("<BBH")
ATTRIBUTES: Final = struct.Struct("<4xB7x")
"""The header of the attributes of an inode: how many are shared."""

_EXTENDED: Final = 1
PLAIN: Final = _EXTENDED | 0 << 1
"""The format of an inode of 64 bytes whose data lies in whole blocks, one after the other."""
INLINE: Final = _EXTENDED | 2 << 1
"""The same, but what the last block would hold follows the inode."""

TYPES: Final = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFCHR: 3,
    stat.S_IFBLK: 4,
    stat.S_IFIFO: 5,
    stat.S_IFSOCK: 6,
    stat.S_IFLNK: 7,
}
"""Types of directory entries (linux/fs_types.h, FT_*)."""


def device_number(major: int, minor: int) -> int:
    """new_encode_dev() of the kernel's include/linux/kdev_t.h."""
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def blocks_of(size: int) -> int:
    return -(-size // BLOCK)

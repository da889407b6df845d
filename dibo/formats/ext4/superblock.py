"""The superblock: 1024 bytes, in the first block at byte 1024, in its copies at byte 0
(kernel documentation, filesystems/ext4/super.rst).

Features are those that mke2fs gives ext4 by default, but for orphan_file and metadata_csum_seed, which GRUB 2.06 and
older kernels do not know: has_journal, ext_attr, resize_inode, dir_index; filetype, extent, 64bit, flex_bg;
sparse_super, large_file, huge_file, dir_nlink, extra_isize, metadata_csum.
"""

from __future__ import annotations

import struct
from typing import Final

from dibo.formats import magic
from dibo.formats.ext4.checksum import extend, stored
from dibo.formats.ext4.layout import BLOCK, DESCRIPTOR, FIRST_INODE, GROUP, INODE, Layout, Parameters

SIZE: Final = 1024
JOURNAL: Final = 8
"""The journal's inode."""
_HAS_JOURNAL: Final = 0x4
_COMPATIBLE: Final = 0x8 | 0x10 | 0x20
_INCOMPATIBLE: Final = 0x2 | 0x40 | 0x80 | 0x200
_READ_ONLY_COMPATIBLE: Final = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400
_GROUP_NUMBER: Final = 0x5A
_CLEAN: Final = 1
_REMOUNT_READ_ONLY: Final = 2
"""What the kernel does about errors (s_errors): Debian's and Ubuntu's images say so, where mke2fs says continue."""


def superblock(
    parameters: Parameters,
    layout: Layout,
    *,
    inodes_per_group: int,
    free_blocks: int,
    free_inodes: int,
    overhead: int,
    journal: bytes,
    journal_size: int,
) -> bytearray:
    """Without group number and checksum, which `copy_for` fills in. `overhead`: blocks that never are a file's.
    `journal`: the 60 bytes of its extent tree, a backup."""
    reserved = int(layout.blocks * parameters.reserved_percent / 100)
    time_low, time_high = parameters.time & 0xFFFFFFFF, parameters.time >> 32
    block = bytearray(SIZE)

    def put(offset: int, form: str, *values: int | bytes) -> None:
        struct.pack_into("<" + form, block, offset, *values)

    put(0x00, "IIIII", layout.groups * inodes_per_group, layout.blocks, reserved, free_blocks, free_inodes)
    put(0x14, "III", 0, 2, 2)  # first data block; blocks and clusters of 2**(10+2) bytes
    put(0x20, "III", GROUP, GROUP, inodes_per_group)
    put(
        0x2C, "IIHH", 0, time_low, 0, 0xFFFF
    )  # last mount, last write; mounts so far, and before a check: never
    put(0x38, "2sHHH", magic.EXT, _CLEAN, _REMOUNT_READ_ONLY, 0)  # and minor revision
    put(0x40, "IIII", time_low, 0, 0, 1)  # checked, check each; made by Linux; revision
    put(0x54, "IH", FIRST_INODE, INODE)
    put(0x5C, "III", _COMPATIBLE | (_HAS_JOURNAL if journal else 0), _INCOMPATIBLE, _READ_ONLY_COMPATIBLE)
    put(0x68, "16s16s", parameters.uuid.bytes, parameters.label.encode())
    put(0xCE, "H", layout.reserved_descriptor_blocks)
    put(0xEC, "16sB", parameters.hash_seed.bytes, 1)  # names are hashed by half MD4
    put(0xFE, "H", DESCRIPTOR)
    put(0x100, "III", 0x4 | 0x8, 0, time_low)  # mount options user_xattr, acl; made
    if journal:
        put(0xE0, "I", JOURNAL)
        put(0xFD, "B", 1)  # what follows is a backup of the journal's inode
        put(0x10C, "60sII", journal, journal_size >> 32, journal_size & 0xFFFFFFFF)
    put(0x150, "III", layout.blocks >> 32, reserved >> 32, free_blocks >> 32)
    put(0x15C, "HHI", 32, 32, 1)  # extra bytes of inodes; hashes are of signed characters
    put(0x174, "BB", 4, 1)  # 2**4 groups a flex group; checksums are CRC32C
    put(0x178, "Q", (layout.blocks - free_blocks) * BLOCK // 1024)
    put(0x248, "I", overhead)
    put(0x274, "BBBB", time_high, 0, time_high, time_high)
    return block


def copy_for(block: bytearray, group: int) -> bytes:
    """The copy of the superblock in `group`."""
    struct.pack_into("<H", block, _GROUP_NUMBER, min(group, 0xFFFF))
    body = bytes(block[:-4])
    return body + stored(extend(0, body)).to_bytes(4, "little")

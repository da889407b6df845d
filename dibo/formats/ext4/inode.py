"""Inodes: 256 bytes each (kernel documentation, filesystems/ext4/inodes.rst).

    0x00 mode u16 | uid u16 | size u32 | atime, ctime, mtime, dtime u32 | gid u16 | links u16 | sectors u32 | flags u32
    0x24 version u32 | 60 bytes: extent tree, link target or device | generation u32 | xattr block u32 | size high u32
    0x70 unused u32 | sectors, xattr block, uid, gid: high u16 | checksum low u16 | unused u16
    0x80 size of what follows u16 (32) | checksum high u16 | ctime, mtime, atime: extra u32 | crtime u32, extra u32
    0x98 version high u32 | project u32
    0xA0 96 bytes for extended attributes

Seconds are signed 32 bits; "extra" holds nanoseconds in its upper 30 bits, and in its lower two how often 2**32 is to
be added to the seconds: 1901 to 2446.
"""

from __future__ import annotations

import stat
import struct
from typing import Final, NamedTuple

from dibo.formats.ext4.checksum import extend, stored
from dibo.formats.ext4.errors import Ext4Error
from dibo.formats.ext4.layout import INODE

EXTENTS: Final = 0x80000
INDEXED: Final = 0x1000
NO_XATTRS: Final = bytes(96)
MAX_LINKS: Final = 65000
"""EXT4_LINK_MAX of the kernel's fs/ext4/ext4.h."""
_EXTRA: Final = 32
_RECORD: Final = struct.Struct("<HHIIII4xHHII4x60s4xIIxxxxHHHHHxxHHIIIII8x96s")
_CHECKSUM_LOW: Final = 0x7C
_CHECKSUM_HIGH: Final = 0x82
_U16: Final = struct.Struct("<H").pack_into
_EARLIEST: Final = -(2**31) * 10**9
_LATEST: Final = (2**34 - 2**31) * 10**9 - 1
assert _RECORD.size == INODE


def holds_time(time: int) -> bool:
    """Whether an inode can say `time`, in nanoseconds since 1970: from 1901 to 2446."""
    return _EARLIEST <= time <= _LATEST


class Inode(NamedTuple):
    """What an inode says. A tuple: one is made for each file."""

    mode: int
    uid: int
    gid: int
    size: int
    time: int
    """Of all four times, in nanoseconds since 1970; clamped to what ext4 can say, as the kernel does."""
    links: int
    sectors: int
    flags: int
    block: bytes
    """60 bytes: the extent tree, a link's target or a device."""
    xattrs: bytes = NO_XATTRS
    xattr_block: int = 0


def put_inode(table: bytearray, at: int, seed: int, inode: Inode) -> None:
    """Pack an inode into `table` at byte `at`. `seed` is where the inode's checksums start. Raises Ext4Error."""
    mode, uid, gid, size, time, links, sectors, flags, block, xattrs, xattr_block = inode
    if not holds_time(time):
        time = min(max(time, _EARLIEST), _LATEST)
    whole, nanoseconds = divmod(time, 1_000_000_000)
    seconds = whole & 0xFFFFFFFF
    extra = nanoseconds << 2 | (whole + 0x80000000) >> 32 & 3
    try:
        record = _RECORD.pack(
            mode, uid & 0xFFFF, size & 0xFFFFFFFF, seconds, seconds, seconds, gid & 0xFFFF, links,
            sectors & 0xFFFFFFFF, flags, block, xattr_block & 0xFFFFFFFF, size >> 32, sectors >> 32,
            xattr_block >> 32, uid >> 16, gid >> 16, 0, _EXTRA, 0, extra, extra, extra, seconds, extra, xattrs,
        )  # fmt: skip
    except struct.error:
        raise Ext4Error(f"mode {mode:#o}, uid {uid}, gid {gid}: one of them does not fit an inode") from None
    checksum = stored(extend(seed, record))
    table[at : at + INODE] = record
    _U16(table, at + _CHECKSUM_LOW, checksum & 0xFFFF)
    _U16(table, at + _CHECKSUM_HIGH, checksum >> 16)


def device_block(major: int, minor: int) -> bytes:
    """What a device node has in place of an extent tree: the old number if it will do, else the new one
    (new_encode_dev() of the kernel's include/linux/kdev_t.h)."""
    if not (0 <= major < 4096 and 0 <= minor < 2**20):
        raise Ext4Error(f"device {major}:{minor}: there is no such number")
    if major < 256 and minor < 256:
        return struct.pack("<I56x", major << 8 | minor)
    return struct.pack("<II52x", 0, minor & 0xFF | major << 8 | (minor & ~0xFF) << 12)


FILE_TYPES: Final = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFCHR: 3,
    stat.S_IFBLK: 4,
    stat.S_IFIFO: 5,
    stat.S_IFSOCK: 6,
    stat.S_IFLNK: 7,
}
"""By type in the mode: type in a directory entry."""

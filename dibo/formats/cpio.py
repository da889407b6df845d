"""Reads archives of an initramfs: cpio, formats newc and crc, several one behind the other, each perhaps compressed.

    header of 110 characters: 070701 or 070702, then 13 numbers of 8 hexadecimal digits:
        inode, mode, uid, gid, links, mtime, size, major, minor (of the file system), major, minor (of a device),
        length of the name with its zero, checksum
    name, zeros to a multiple of 4; contents, zeros to a multiple of 4; TRAILER!!! ends an archive

The kernel's Documentation/driver-api/early-userspace/buffer-format.rst. dibo.ramdisk.cpio writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dibo.errors import DiskImageError
from dibo.formats.magic import CPIO, CPIO_SUMS
from dibo.formats.source import Source

_HEADER: Final = 110
_NUMBERS: Final = 13
_MAGICS: Final = (CPIO, CPIO_SUMS)
_DIGITS: Final = re.compile(rb"[0-9A-Fa-f]{104}")
_LONGEST: Final = 4096
_TRAILER: Final = b"TRAILER!!!"
_MOST: Final = 2_000_000
_ZEROS: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CpioEntry:
    """One name. `offset` is where its contents are in the source; hard links share `inode`, and one has the bytes."""

    name: bytes
    inode: tuple[int, int, int]
    mode: int
    uid: int
    gid: int
    links: int
    mtime: int
    device: tuple[int, int]
    offset: int
    size: int


def entries(source: Source, start: int = 0) -> Iterator[CpioEntry]:
    """Those of one archive that begins at byte `start`; the trailer is the last. Raises DiskImageError."""
    at = start
    for _ in range(_MOST):
        header = source.read(at, _HEADER)
        if not header.startswith(_MAGICS) or _DIGITS.fullmatch(header, 6) is None:
            raise DiskImageError(f"the archive has no header at byte {at}: it is damaged, or cut short")
        numbers = [int(header[6 + 8 * n : 14 + 8 * n], 16) for n in range(_NUMBERS)]
        inode, mode, uid, gid, links, mtime, size, major, minor, device_major, device_minor, length, _ = (
            numbers
        )
        if not 1 <= length <= _LONGEST:
            raise DiskImageError(f"a name of the archive has {length} bytes; the limit is {_LONGEST}")
        name = source.read(at + _HEADER, length).rstrip(b"\0")
        offset = at + (_HEADER + length + 3 & ~3)
        if offset + size > source.size:
            raise DiskImageError("a file of the archive ends behind the archive: it is cut short")
        entry = CpioEntry(
            name=name,
            inode=(major, minor, inode),
            mode=mode,
            uid=uid,
            gid=gid,
            links=links,
            mtime=mtime,
            device=(device_major, device_minor),
            offset=offset,
            size=size,
        )
        yield entry
        if name == _TRAILER:
            return
        at = offset + (size + 3 & ~3)
    raise DiskImageError(f"the archive has more than {_MOST} files")


def is_trailer(entry: CpioEntry) -> bool:
    """Whether it ends an archive."""
    return entry.name == _TRAILER


def after_zeros(source: Source, at: int) -> int:
    """Where the next archive begins, behind the zeros that follow one; the end of the source if none does."""
    while at < source.size:
        piece = source.read(at, min(_ZEROS, source.size - at))
        rest = piece.lstrip(b"\0")
        if rest:
            return at + len(piece) - len(rest)
        at += len(piece)
    return source.size

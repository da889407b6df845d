"""VDI, VirtualBox's format, version 1.1, dynamic: blocks of 1 MiB, and a table where each of them is.

    0      64 bytes of text; u32 signature, u32 version
    72     u32 bytes of the header from here (400), u32 type 1: dynamic, u32 flags, comment
    340    u32 offset of the table, u32 offset of the first block
    348    geometry, left to VirtualBox; u32 sector size
    368    u64 size of the disk; u32 size of a block, u32 0, u32 blocks of the disk, u32 blocks of the file
    392    UUIDs: of the image, of its last change, of its parent (none) and of the parent's last change
    512    the table: u32 for each block of the disk: which block of the file it is, or all ones for zeros
           blocks, in the order in which they were first written

All numbers little-endian. VirtualBox, src/VBox/Storage/VDICore.h; QEMU, block/vdi.c.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import UUID, uuid5

from dibo.formats.raw import RawFile
from dibo.formats.sparse import filled
from dibo.formats.target import Buffer
from dibo.formats.vm_disks.identity import NO_IDENTITY, ImageIdentity
from dibo.units import MIB, SECTOR

_TEXT: Final = b"<<< Oracle VM VirtualBox Disk Image >>>\n"
_SIGNATURE: Final = 0xBEDA107F
_VERSION: Final = 0x00010001
_HEADER: Final = struct.Struct("<64sIIIII256sII4IIQIIII16s16s16s16s4I")
_HEADER_SIZE: Final = 400
_DYNAMIC: Final = 1
_TABLE_AT: Final = 0x200
_NONE: Final = 0xFFFFFFFF
_NO_PARENT: Final = UUID(int=0)


class Vdi:
    """A Target: a VDI of a disk of `size` bytes at `path`, whole when the `with` ends well. Raises OutputError, here
    and in every method, when the file cannot be written; it calls the file `name` then."""

    def __init__(
        self, path: Path, size: int, *, identity: ImageIdentity | None = None, name: Path | None = None
    ) -> None:
        self.size = size
        self._identity = identity or NO_IDENTITY
        blocks = -(-size // MIB)
        self._table = array("I", [_NONE]) * blocks
        self._data_at = -(-(_TABLE_AT + 4 * blocks) // MIB) * MIB
        self._count = 0
        self._path = path
        self._file = RawFile(path, self._data_at + blocks * MIB, name=name)

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        self._check(offset, sum(map(len, buffers)))
        for buffer in buffers:
            for start, run in filled(offset, buffer):
                self._write_run(start, run)
            offset += len(buffer)

    def discard(self, offset: int, size: int) -> None:
        self._check(offset, size)
        for index, within, part in _parts(offset, size):
            if self._table[index] != _NONE:
                self._file.discard(self._place(index) + within, part)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._file.write(_TABLE_AT, [_little_endian(self._table)])
                self._file.write(0, [self._header()])
        finally:
            self._file.close()
        if kind is None:
            os.truncate(self._path, self._data_at + self._count * MIB)

    def _write_run(self, offset: int, data: memoryview) -> None:
        for index, within, size in _parts(offset, len(data)):
            if self._table[index] == _NONE:
                self._table[index] = self._count
                self._count += 1
            self._file.write(self._place(index) + within, [data[:size]])
            data = data[size:]

    def _place(self, index: int) -> int:
        return self._data_at + self._table[index] * MIB

    def _header(self) -> bytes:
        return _HEADER.pack(
            _TEXT,
            _SIGNATURE,
            _VERSION,
            _HEADER_SIZE,
            _DYNAMIC,
            0,
            b"",
            _TABLE_AT,
            self._data_at,
            *(0, 0, 0, SECTOR),
            0,
            self.size,
            MIB,
            0,
            len(self._table),
            self._count,
            self._identity.uuid.bytes_le,
            uuid5(self._identity.uuid, "last change").bytes_le,
            _NO_PARENT.bytes_le,
            _NO_PARENT.bytes_le,
            *(0, 0, 0, SECTOR),
        )

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or offset + size > self.size:
            raise ValueError(f"bytes {offset} to {offset + size} are not on a disk of {self.size}")


def _parts(offset: int, size: int) -> list[tuple[int, int, int]]:
    """A range, block by block: the number of the block, the byte within, and how many."""
    parts = []
    while size:
        index, within = divmod(offset, MIB)
        part = min(size, MIB - within)
        parts.append((index, within, part))
        offset += part
        size -= part
    return parts


def _little_endian(table: array[int]) -> bytes:
    return struct.pack(f"<{len(table)}I", *table)

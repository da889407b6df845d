"""VHD of fixed size, as Azure takes it: the disk as it is, and behind it a footer of 512 bytes.

    byte n of the disk           byte n of the file
    0   "conectix"               8   u32 features 2, u32 version 1.0
    16  u64 offset of a dynamic header: all ones, there is none
    24  u32 seconds since 2000   28  creator "qem2", u32 its version, "Wi2k"
    40  u64 size when made       48  u64 size
    56  u16 cylinders, u8 heads, u8 sectors
    60  u32 type 2: fixed        64  u32 checksum: the complement of the sum of all other bytes
    68  UUID                     84  u8 saved state, zeros to 512

All numbers big-endian. "Virtual Hard Disk Image Format Specification" 1.0, Microsoft, 2006. Azure asks for a fixed
VHD of whole MiB ("Prepare a Windows/Linux VHD to upload to Azure"). The creator decides what readers believe: with
"qem2", which `qemu-img convert -O vpc -o subformat=fixed,force_size=on` writes, the size counts and not the cylinders
(QEMU, block/vpc.c).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from dibo.formats import magic
from dibo.formats.raw import RawFile
from dibo.formats.target import Buffer
from dibo.formats.vm_disks.identity import NO_IDENTITY, ImageIdentity
from dibo.units import SECTOR

_FOOTER: Final = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427x")
_CHECKSUM_AT: Final = 64
_FEATURES: Final = 2  # reserved, always set
_VERSION: Final = 0x00010000
_CREATOR: Final = b"qem2"
_CREATOR_VERSION: Final = 0x00050003
_CREATOR_SYSTEM: Final = b"Wi2k"
_FIXED: Final = 2
_NO_HEADER: Final = 0xFFFFFFFFFFFFFFFF
_YEAR_2000: Final = 946684800


class DiskGeometry(NamedTuple):
    cylinders: int
    heads: int
    sectors: int


def geometry(sectors: int) -> DiskGeometry:
    """What the appendix "CHS Calculation" of the specification gives for a disk of so many sectors."""
    sectors = min(sectors, 65535 * 16 * 255)
    if sectors >= 65535 * 16 * 63:
        return DiskGeometry(sectors // 255 // 16, 16, 255)
    per_track, rows = 17, sectors // 17
    heads = max(4, (rows + 1023) // 1024)
    if rows >= heads * 1024 or heads > 16:
        per_track, heads, rows = 31, 16, sectors // 31
    if rows >= heads * 1024:
        per_track, heads, rows = 63, 16, sectors // 63
    return DiskGeometry(rows // heads, heads, per_track)


def footer(size: int, identity: ImageIdentity) -> bytes:
    """The last sector of a fixed VHD of `size` bytes."""
    data = bytearray(
        _FOOTER.pack(
            magic.VHD,
            _FEATURES,
            _VERSION,
            _NO_HEADER,
            min(max(0, identity.time - _YEAR_2000), 0xFFFFFFFF),
            _CREATOR,
            _CREATOR_VERSION,
            _CREATOR_SYSTEM,
            size,
            size,
            *geometry(size // SECTOR),
            _FIXED,
            0,
            identity.uuid.bytes,
            0,
        )
    )
    struct.pack_into(">I", data, _CHECKSUM_AT, ~sum(data) & 0xFFFFFFFF)
    return bytes(data)


class Vhd:
    """A Target: a fixed VHD of `size` bytes at `path`, whole when the `with` ends well. Raises OutputError, here and in
    every method, when the file cannot be written; it calls the file `name` then."""

    def __init__(
        self, path: Path, size: int, *, identity: ImageIdentity | None = None, name: Path | None = None
    ) -> None:
        self.size = size
        self._identity = identity or NO_IDENTITY
        self._file = RawFile(path, size + SECTOR, name=name)

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        self._check(offset, sum(map(len, buffers)))
        self._file.write(offset, buffers)

    def discard(self, offset: int, size: int) -> None:
        self._check(offset, size)
        self._file.discard(offset, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._file.write(self.size, [footer(self.size, self._identity)])
        finally:
            self._file.close()

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or offset + size > self.size:
            raise ValueError(f"bytes {offset} to {offset + size} are not on a disk of {self.size}")

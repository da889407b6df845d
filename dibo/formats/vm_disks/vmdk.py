"""VMDK, stream-optimised: what OVA packages, image services and VirtualBox's boxes hold. Written from front to back.

    sector 0    header: "KDMV", version 3, flags; sizes in sectors; where the directory is: at the end
    sector 1    descriptor, text, 20 sectors
    sector 128  grains: 64 KiB of the disk each, deflated with zlib's header; those of zeros are left out
                    u64 sector of the disk, u32 bytes that follow, the bytes, zeros to a whole sector
                tables: after the grains of each 32 MiB of the disk
                    marker: u64 sectors that follow, u32 0, u32 type 1, zeros
                    512 u32: the sector of the file where each grain is, 0 for zeros
                directory: the same marker with type 2; a u32 for each table, 0 for one without grains
                marker of type 3; the header again, now with the place of the directory; a marker of zeros

All numbers little-endian. VMware, "Virtual Disk Format 5.0", "Stream-Optimized Compressed Sparse Extents".
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

from dibo.errors import OutputError
from dibo.formats import magic
from dibo.formats.sparse import is_zero
from dibo.formats.streams.disk_file import ByteSink, pieces
from dibo.formats.streams.in_threads import in_order
from dibo.formats.vm_disks.identity import ImageIdentity
from dibo.units import KIB, MIB, SECTOR

_HEADER: Final = struct.Struct("<4sIIQQQQIQQQB4sH433x")
_VERSION: Final = 3
_FLAGS: Final = 0x30001  # line ends can be checked, grains are compressed, there are markers
_LINE_ENDS: Final = b"\n \r\n"
_DEFLATE: Final = 1
_GRAIN: Final = 64 * KIB
_GRAIN_SECTORS: Final = _GRAIN // SECTOR
_GRAINS_PER_TABLE: Final = 512
_DESCRIPTOR_AT: Final = 1
_DESCRIPTOR_SECTORS: Final = 20
_FIRST: Final = 128
"""Sectors before the first grain."""
_AT_END: Final = 0xFFFFFFFFFFFFFFFF
_GRAIN_MARKER: Final = struct.Struct("<QI")
_MARKER: Final = struct.Struct("<QII496x")
_TABLE, _DIRECTORY, _FOOTER = 1, 2, 3
_LEVEL: Final = 1  # as in dibo.formats.qcow2.codec
_PIECE: Final = MIB
_LARGEST: Final = 0xFFFFFFFF * SECTOR
_NO_CONTENT_ID: Final = 0xFFFFFFFE
"""This and the number above it stand for none."""


def write_vmdk(disk: BinaryIO, size: int, out: ByteSink, *, identity: ImageIdentity) -> int:
    """Write the disk in the plain file `disk`, of `size` bytes, to `out`; the bytes that were written. Raises
    OutputError for what the format cannot hold."""
    writer = _Writer(out, size, identity)
    writer.begin()
    index = 0
    for grains in in_order(_deflated, pieces(disk, size=_PIECE)):
        for data in grains:
            writer.grain(index, data)
            index += 1
    return writer.finish()


def descriptor(size: int, identity: ImageIdentity) -> bytes:
    """The text that says what the disk is. `disk.vmdk` is no file to look for: the extent is this file itself."""
    content_id = identity.uuid.int & 0xFFFFFFFF
    content_id = content_id if content_id < _NO_CONTENT_ID else 1
    cylinders = min(65535, size // SECTOR // (255 * 63))
    text = f"""# Disk DescriptorFile
version=1
CID={content_id:08x}
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RDONLY {-(-size // SECTOR)} SPARSE "disk.vmdk"

# The Disk Data Base
#DDB

ddb.virtualHWVersion = "10"
ddb.geometry.cylinders = "{cylinders}"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.adapterType = "lsilogic"
ddb.uuid.image = "{identity.uuid}"
"""
    return text.encode().ljust(_DESCRIPTOR_SECTORS * SECTOR, b"\0")


def _deflated(piece: bytes | None) -> list[bytes | None]:
    """The grains of a piece, compressed; None for zeros."""
    from deflate import zlib_compress

    if piece is None:
        return [None] * (_PIECE // _GRAIN)
    grains: list[bytes | None] = []
    for at in range(0, len(piece), _GRAIN):
        grain = piece[at : at + _GRAIN]
        grains.append(None if is_zero(grain) else bytes(zlib_compress(grain.ljust(_GRAIN, b"\0"), _LEVEL)))
    return grains


class _Writer:
    def __init__(self, out: ByteSink, size: int, identity: ImageIdentity) -> None:
        if size > _LARGEST:
            raise OutputError(f"a vmdk counts sectors by 32 bits: {size} bytes are too many")
        self._out, self._size, self._identity = out, size, identity
        self._sector = 0
        """Of the file, that comes next."""
        grains = -(-size // _GRAIN)
        self._directory = [0] * -(-grains // _GRAINS_PER_TABLE)
        self._table = [0] * _GRAINS_PER_TABLE
        self._at_hand = 0
        """The table that is being filled."""

    def begin(self) -> None:
        head = self._header(_AT_END) + descriptor(self._size, self._identity)
        self._put(head.ljust(_FIRST * SECTOR, b"\0"))

    def grain(self, index: int, data: bytes | None) -> None:
        table, place = divmod(index, _GRAINS_PER_TABLE)
        if table != self._at_hand:
            self._finish_table()
            self._at_hand = table
        if data is not None:
            self._table[place] = self._sector
            self._put(_GRAIN_MARKER.pack(index * _GRAIN_SECTORS, len(data)) + data)

    def finish(self) -> int:
        self._finish_table()
        directory = struct.pack(f"<{len(self._directory)}I", *self._directory)
        self._mark(_DIRECTORY, directory)
        directory_at = self._sector - _sectors(directory)
        self._mark(_FOOTER, self._header(directory_at))
        self._put(bytes(SECTOR))
        return self._sector * SECTOR

    def _finish_table(self) -> None:
        if any(self._table):
            self._directory[self._at_hand] = self._sector + 1
            self._mark(_TABLE, struct.pack(f"<{_GRAINS_PER_TABLE}I", *self._table))
            self._table = [0] * _GRAINS_PER_TABLE

    def _mark(self, kind: int, data: bytes) -> None:
        self._put(_MARKER.pack(_sectors(data), 0, kind))
        self._put(data)

    def _put(self, data: bytes) -> None:
        if self._sector > 0xFFFFFFFF:
            raise OutputError("a vmdk counts its sectors by 32 bits, and has no more of them")
        self._out.write(data)
        if len(data) % SECTOR:
            self._out.write(bytes(-len(data) % SECTOR))
        self._sector += _sectors(data)

    def _header(self, directory_at: int) -> bytes:
        return _HEADER.pack(
            magic.VMDK,
            _VERSION,
            _FLAGS,
            -(-self._size // SECTOR),
            _GRAIN_SECTORS,
            _DESCRIPTOR_AT,
            _DESCRIPTOR_SECTORS,
            _GRAINS_PER_TABLE,
            0,
            directory_at,
            _FIRST,
            0,
            _LINE_ENDS,
            _DEFLATE,
        )


def _sectors(data: bytes) -> int:
    return -(-len(data) // SECTOR)

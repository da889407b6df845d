"""The bytes of a qcow2: header, feature names, entries of tables. All numbers are big-endian.

    header (version 3)                          40 u64 offset of the L1 table     72 u64 incompatible features
     0 "QFI\\xfb"                                48 u64 offset of refcount table   80 u64 compatible features
     4 u32 version                              56 u32 its length in clusters     88 u64 autoclear features
     8 u64, u32 backing file: none              60 u32 snapshots: none            96 u32 log2 of bits in a refcount
    20 u32 log2 of the cluster size             64 u64 offset of their table     100 u32 length of the header
    24 u64 size of the disk in bytes                                             104 u8 compression type, 7 zeros
    32 u32 encryption: none                                                      112 extensions: u32 type,
    36 u32 entries in the L1 table                                                   u32 length, data, to 8 bytes

    L1 table ── offset of an L2 table, or 0 ──► L2 table ── of each cluster of 64 KiB:
                                                            0                                      reads as zeros
                                                            bit 63 | offset                        as it is
                                                            bit 62 | sectors - 1 << 54 | offset    compressed
    refcount table ── offset ──► refcount block ── u16 for each cluster of the file: how many refer to it

A compressed cluster lies at any byte; its length is told in sectors of 512 bytes, from the one it begins in to the one
it ends in. Clusters of the file that several of them touch are counted once for each.

The format is that of qemu/docs/interop/qcow2.txt. What compressed data is, is not said there but in QEMU's
block/qcow2-threads.c: type 0 is raw deflate (RFC 1951) with a window of 4 KiB, type 1 one frame of zstd (RFC 8878).
"""

from __future__ import annotations

import struct
from typing import Final

CLUSTER_BITS: Final = 16
CLUSTER: Final = 1 << CLUSTER_BITS
L2_ENTRIES: Final = CLUSTER // 8
REFCOUNTS: Final = CLUSTER // 2
"""In one refcount block."""
SECTOR: Final = 512

DEFLATE: Final = 0
ZSTD: Final = 1
"""Compression types."""
WINDOW_BITS: Final = 12
"""Of deflate: distances go back 4 KiB at most."""

_MAGIC: Final = b"QFI\xfb"
_VERSION: Final = 3
_REFCOUNT_ORDER: Final = 4
_HEADER: Final = struct.Struct(">4sIQIIQIIQQIIQQQQIIB7x")
_FEATURE_NAMES: Final = 0x6803F857
_INCOMPATIBLE: Final = 0
_COMPATIBLE: Final = 1
_AUTOCLEAR: Final = 2
_COMPRESSION_TYPE: Final = 3
"""The bit among incompatible features that says: not deflate."""
_NAMES: Final = (
    (_INCOMPATIBLE, 0, b"dirty bit"),
    (_INCOMPATIBLE, 1, b"corrupt bit"),
    (_INCOMPATIBLE, 2, b"external data file"),
    (_INCOMPATIBLE, _COMPRESSION_TYPE, b"compression type"),
    (_INCOMPATIBLE, 4, b"extended L2 entries"),
    (_COMPATIBLE, 0, b"lazy refcounts"),
    (_AUTOCLEAR, 0, b"bitmaps"),
    (_AUTOCLEAR, 1, b"raw external data"),
)

_COPIED: Final = 1 << 63
_COMPRESSED: Final = 1 << 62
_SECTORS_SHIFT: Final = 62 - (CLUSTER_BITS - 8)
_SECTORS_MASK: Final = (1 << (CLUSTER_BITS - 8)) - 1
_OFFSET_MASK: Final = (1 << 56) - (1 << 9)


def encode_header(
    *,
    size: int,
    compression: int,
    l1_offset: int,
    l1_entries: int,
    refcounts_offset: int,
    refcounts_clusters: int,
) -> bytes:
    """The header with its extensions. `size` in bytes, rounded up to a sector; offsets in bytes of the file."""
    incompatible = 1 << _COMPRESSION_TYPE if compression != DEFLATE else 0
    header = _HEADER.pack(
        _MAGIC,
        _VERSION,
        *(0, 0),  # backing file
        CLUSTER_BITS,
        -(-size // SECTOR) * SECTOR,
        0,  # encryption
        l1_entries,
        l1_offset,
        refcounts_offset,
        refcounts_clusters,
        *(0, 0),  # snapshots
        *(incompatible, 0, 0),
        _REFCOUNT_ORDER,
        _HEADER.size,
        compression,
    )
    names = b"".join(struct.pack(">BB46s", *entry) for entry in _NAMES)
    return header + struct.pack(">II", _FEATURE_NAMES, len(names)) + names + bytes(8)


def table_entry(offset: int) -> int:
    """Of an L2 table in the L1 table, and of a cluster that is stored as it is in an L2 table."""
    return _COPIED | offset


def compressed_entry(offset: int, size: int) -> int:
    """Of `size` bytes of compressed data at byte `offset` in an L2 table."""
    sectors = (offset + size - 1) // SECTOR - offset // SECTOR
    return _COMPRESSED | sectors << _SECTORS_SHIFT | offset


def is_compressed(entry: int) -> bool:
    return bool(entry & _COMPRESSED)


def extent(entry: int) -> tuple[int, int]:
    """Offset and length in the file of what an entry refers to; to the end of its last sector where compressed."""
    if not entry & _COMPRESSED:
        return entry & _OFFSET_MASK, CLUSTER
    offset = entry & ((1 << _SECTORS_SHIFT) - 1)
    sectors = (entry >> _SECTORS_SHIFT & _SECTORS_MASK) + 1
    return offset, sectors * SECTOR - offset % SECTOR

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
block/qcow2-threads.c: type 0 is raw deflate (RFC 1951), type 1 one frame of zstd (RFC 8878). QEMU writes deflate with a
window of 4 KiB and asks zlib for the same when it reads, but takes a cluster in one call of inflate(): distances then
reach back in its buffer, as far as deflate knows. dibo's go back 32 KiB.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from dibo.formats import magic

CLUSTER_BITS: Final = 16
CLUSTER: Final = 1 << CLUSTER_BITS
L2_ENTRIES: Final = CLUSTER // 8
REFCOUNTS: Final = CLUSTER // 2
"""In one refcount block."""
SECTOR: Final = 512

DEFLATE: Final = 0
ZSTD: Final = 1
"""Compression types."""

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
_ZERO: Final = 1
"""In an L2 entry: the cluster reads as zeros, whatever its offset is (version 3)."""
_OFFSET_MASK: Final = (1 << 56) - (1 << 9)
_DATA_FILE: Final = 1 << 2
_EXTENDED_L2: Final = 1 << 4
_READABLE: Final = 0b11 | 1 << _COMPRESSION_TYPE  # dirty and corrupt concern writers
_LEAST_BITS, _MOST_BITS = 9, 21
_MOST_L1: Final = 32 << 20
"""Bytes, as in QEMU's block/qcow2.h (QCOW_MAX_L1_SIZE)."""
_VERSION_2: Final = struct.Struct(">4sIQIIQIIQQIIQ")
_FEATURES: Final = struct.Struct(">QQQII")
"""Incompatible, compatible, autoclear; refcount order; length of the header. From version 3 on, behind the rest."""
HEADER_SIZE: Final = _HEADER.size
"""Bytes that `parse_header` looks at."""


class Qcow2Error(ValueError):
    """What is wrong, in words that follow the name of the image, such as "is encrypted"; `hint` is what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a reader needs of a header, of version 2 or 3."""

    version: int
    has_backing_file: bool
    cluster_bits: int
    size: int
    """Of the disk, in bytes."""
    encryption: int
    l1_entries: int
    l1_offset: int
    features: int
    """Incompatible ones."""
    compression: int

    @property
    def cluster_size(self) -> int:
        return 1 << self.cluster_bits

    @property
    def entries_per_table(self) -> int:
        """Of an L2 table."""
        return self.cluster_size // 8

    @property
    def tables(self) -> int:
        """L2 tables that a disk of this size can have."""
        return -(-self.size // (self.cluster_size * self.entries_per_table))

    def check_contained(self) -> None:
        """Raises Qcow2Error where the image names other files: it could name any, and a reader that follows it reads
        them (CVE-2024-32498)."""
        if self.has_backing_file:
            raise Qcow2Error(
                "is only the difference to another file, which it names (a backing file)",
                hint="qemu-img convert -O qcow2 makes a whole one",
            )
        if self.features & _DATA_FILE:
            raise Qcow2Error(
                "keeps its data in another file, which it names",
                hint="qemu-img convert -O qcow2 makes a whole one",
            )

    def check_readable(self) -> None:
        """Raises Qcow2Error for what dibo's readers do not know, or where the image names other files."""
        self.check_contained()
        if self.encryption:
            raise Qcow2Error("is encrypted", hint="qemu-img convert decrypts it")
        if self.features & ~_READABLE:
            unknown = self.features & ~_READABLE
            kind = "extended L2 entries" if unknown & _EXTENDED_L2 else f"features {unknown:#x}"
            raise Qcow2Error(
                f"has {kind}, which dibo does not know", hint="qemu-img convert -O qcow2 makes one without"
            )
        if self.compression not in (DEFLATE, ZSTD):
            raise Qcow2Error(f"has compression of an unknown type {self.compression}")
        if self.l1_entries < self.tables or self.l1_entries * 8 > _MOST_L1:
            raise Qcow2Error(
                f"has {self.l1_entries} entries in the L1 table, for a disk of {self.size} bytes"
            )


def parse_header(data: bytes) -> Header:
    """Of a file that begins with `data`, at least HEADER_SIZE bytes where the file has as many. Raises Qcow2Error."""
    if not data.startswith(magic.QCOW2):
        raise Qcow2Error("is no qcow2")
    if len(data) < _VERSION_2.size:
        raise Qcow2Error("is damaged: it ends before the end of its header")
    (_, version, backing, _, bits, size, encryption, l1_entries, l1_offset, *_) = _VERSION_2.unpack_from(data)
    if version not in (2, _VERSION):
        raise Qcow2Error(f"is a qcow2 of version {version}, expected 2 or 3")
    if not _LEAST_BITS <= bits <= _MOST_BITS:
        raise Qcow2Error(f"has clusters of 2^{bits} bytes, expected 2^{_LEAST_BITS} to 2^{_MOST_BITS}")
    features, compression = 0, DEFLATE
    if version == _VERSION:
        if len(data) < _VERSION_2.size + _FEATURES.size:
            raise Qcow2Error("is damaged: it ends before the end of its header")
        features, _, _, _, length = _FEATURES.unpack_from(data, _VERSION_2.size)
        type_at = _VERSION_2.size + _FEATURES.size
        if features & 1 << _COMPRESSION_TYPE and type_at < min(length, len(data)):
            compression = data[type_at]
    return Header(
        version=version,
        has_backing_file=bool(backing),
        cluster_bits=bits,
        size=size,
        encryption=encryption,
        l1_entries=l1_entries,
        l1_offset=l1_offset,
        features=features,
        compression=compression,
    )


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
        magic.QCOW2,
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
    return _COMPRESSED | sectors << _sectors_shift(CLUSTER_BITS) | offset


def is_compressed(entry: int) -> bool:
    return bool(entry & _COMPRESSED)


def table_offset(entry: int) -> int:
    """Where the L2 table of an entry of the L1 table is; 0 where there is none."""
    return entry & _OFFSET_MASK


def extent(entry: int, cluster_bits: int = CLUSTER_BITS) -> tuple[int, int]:
    """Offset and length in the file of what an entry of an L2 table refers to; to the end of its last sector where
    compressed. The offset is 0 where the cluster reads as zeros."""
    if not entry & _COMPRESSED:
        return 0 if entry & _ZERO else entry & _OFFSET_MASK, 1 << cluster_bits
    shift = _sectors_shift(cluster_bits)
    offset = entry & ((1 << shift) - 1)
    sectors = (entry >> shift & ((1 << (cluster_bits - 8)) - 1)) + 1
    return offset, sectors * SECTOR - offset % SECTOR


def _sectors_shift(cluster_bits: int) -> int:
    return 62 - (cluster_bits - 8)

"""A qcow2 as a source of bytes: any version, cluster size and compression; dibo/formats/qcow2/format.py draws
the format.

What a reader must know beyond what dibo writes: clusters of 512 bytes to 2 MiB; bit 0 of an L2 entry, which says that
a cluster reads as zeros whatever its offset is; snapshots, dirty bits and reference counts, which do not matter to
somebody who only reads the disk as it is now. A backing file or an external data file is some other file that the
image names: it is not followed, since an image could name any. Neither are extended L2 entries known, nor encryption.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from dibo.errors import DiskImageError
from dibo.formats.qcow2.format import DEFLATE, SECTOR, ZSTD
from dibo.formats.source import Recent, Source, check

MAGIC: Final = b"QFI\xfb"
_HEADER: Final = struct.Struct(">4sIQIIQIIQQIIQ")
_REST: Final = struct.Struct(">QQQII")
_MOST_L1: Final = 32 << 20  # bytes, as in QEMU's block/qcow2.h (QCOW_MAX_L1_SIZE)
_DATA_FILE: Final = 1 << 2
_TYPE: Final = 1 << 3
_EXTENDED: Final = 1 << 4
_KNOWN: Final = 0b11 | _TYPE  # dirty and corrupt concern writers
_OFFSET: Final = (1 << 56) - (1 << 9)
_COMPRESSED: Final = 1 << 62
_ZERO: Final = 1
_KEPT: Final = 8 << 20
_WINDOW: Final = 8 << 20  # of a zstd frame: four times the largest cluster


class Qcow2Source:
    """Raises DiskImageError, here and when it is read, for what is damaged or not understood."""

    def __init__(self, file: Source, *, name: str) -> None:
        self._file, self._name = file, name
        head = file.read(0, _HEADER.size)
        (_, version, backing, _, bits, size, encryption, l1_entries, l1_offset, *_) = _HEADER.unpack(head)
        if version not in (2, 3):
            raise DiskImageError(f"{name} is a qcow2 of version {version}; 2 and 3 are known")
        if not 9 <= bits <= 21:
            raise DiskImageError(f"{name}: clusters of 2^{bits} bytes are none of qcow2's")
        if backing:
            raise DiskImageError(
                f"{name} is only the difference to another file, which it names (a backing file)",
                hint=f"if you trust it: qemu-img convert -O qcow2 {name} whole.qcow2, and take that",
            )
        if encryption:
            raise DiskImageError(f"{name} is encrypted", hint="decrypt it with qemu-img convert")
        self._zstd = version == 3 and self._compression() == ZSTD
        self.size = size
        self._bits, self._cluster = bits, 1 << bits
        self._entries = self._cluster // 8
        wanted = -(-size // (self._cluster * self._entries))
        if l1_entries < wanted or l1_entries * 8 > _MOST_L1:
            raise DiskImageError(f"{name}: {l1_entries} entries in the L1 table, for a disk of {size} bytes")
        self._l1 = struct.unpack(f">{wanted}Q", file.read(l1_offset, wanted * 8))
        self._tables, self._clusters = Recent(_KEPT), Recent(_KEPT)

    def _compression(self) -> int:
        features, _, _, _, length = _REST.unpack(self._file.read(72, _REST.size))
        if features & _DATA_FILE:
            raise DiskImageError(f"{self._name} keeps its data in another file, which it names")
        if features & ~_KNOWN:
            what = "extended L2 entries" if features & _EXTENDED else f"features {features & ~_KNOWN:#x}"
            raise DiskImageError(
                f"{self._name} has {what}, which dibo does not know",
                hint=f"qemu-img convert -O qcow2 {self._name} plain.qcow2 makes one without",
            )
        if not features & _TYPE:
            return DEFLATE
        kind = self._file.read(104, 1)[0] if length > 104 else DEFLATE
        if kind not in (DEFLATE, ZSTD):
            raise DiskImageError(f"{self._name}: compression of an unknown type {kind}")
        return kind

    def read(self, offset: int, size: int) -> bytes:
        check(offset, size, self.size)
        found = []
        while size:
            index, within = divmod(offset, self._cluster)
            part = min(size, self._cluster - within)
            found.append(self._part(index, within, part))
            offset += part
            size -= part
        return b"".join(found)

    def _part(self, index: int, within: int, size: int) -> bytes:
        """Of one cluster."""
        above, place = divmod(index, self._entries)
        table = self._l1[above] & _OFFSET
        entry = self._entry(table, place) if table else 0
        if entry & _COMPRESSED:
            return self._inflated(entry)[within : within + size]
        offset = entry & _OFFSET
        if not offset or entry & _ZERO:
            return bytes(size)
        return self._stored(offset + within, size)

    def _entry(self, table: int, place: int) -> int:
        block = self._tables.get(table)
        if block is None:
            block = self._tables.put(table, self._stored(table, self._cluster))
        entry: int = struct.unpack_from(">Q", block, place * 8)[0]
        return entry

    def _stored(self, offset: int, size: int) -> bytes:
        """Of the file. It may end within its last cluster: the rest reads as zeros."""
        if offset - offset % self._cluster >= self._file.size:
            raise DiskImageError(f"{self._name} ends before byte {offset}, which it refers to: is it whole?")
        there = max(0, min(size, self._file.size - offset))
        return self._file.read(offset, there).ljust(size, b"\0") if there else bytes(size)

    def _inflated(self, entry: int) -> bytes:
        cluster = self._clusters.get(entry)
        if cluster is not None:
            return cluster
        shift = 62 - (self._bits - 8)
        offset = entry & ((1 << shift) - 1)
        size = ((entry >> shift & ((1 << (self._bits - 8)) - 1)) + 1) * SECTOR - offset % SECTOR
        size = min(size, self._file.size - offset)
        if size <= 0:
            raise DiskImageError(f"{self._name} ends before byte {offset}, which it refers to: is it whole?")
        cluster = _decompress(self._file.read(offset, size), self._cluster, zstd=self._zstd)
        if len(cluster) != self._cluster:
            raise DiskImageError(f"{self._name}: the compressed cluster at byte {offset} is damaged")
        return self._clusters.put(entry, cluster)


def _decompress(data: bytes, size: int, *, zstd: bool) -> bytes:
    """At most `size` bytes of what `data` begins with; nothing where it is damaged."""
    if not zstd:
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size)
        except zlib.error:
            return b""
    import zstandard

    try:  # as a stream, for a frame may claim any size
        with zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(data) as stream:
            return stream.read(size)
    except zstandard.ZstdError:
        return b""

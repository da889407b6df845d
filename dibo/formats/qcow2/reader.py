"""A qcow2 as a source of bytes: any version, cluster size and compression; dibo/formats/qcow2/format.py draws
the format.

What a reader must know beyond what dibo writes: clusters of 512 bytes to 2 MiB; bit 0 of an L2 entry, which says that
a cluster reads as zeros whatever its offset is; snapshots, dirty bits and reference counts, which do not matter to
a reader of the disk as it is now. A backing file or an external data file is some other file that the
image names: it is not followed, since an image could name any. Neither are extended L2 entries known, nor encryption.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from dibo.errors import DiskImageError
from dibo.formats.qcow2.format import (
    HEADER_SIZE,
    ZSTD,
    Header,
    Qcow2Error,
    extent,
    is_compressed,
    parse_header,
    table_offset,
)
from dibo.formats.source import Recent, Source, check

_KEPT: Final = 8 << 20
_WINDOW: Final = 8 << 20  # of a zstd frame: four times the largest cluster


def header_of(file: Source, *, name: str) -> Header:
    """Raises DiskImageError for what is no header of a qcow2."""
    try:
        return parse_header(file.read(0, min(HEADER_SIZE, file.size)))
    except Qcow2Error as error:
        raise _refused(name, error) from error


def check_contained(file: Source, *, name: str) -> None:
    """Raises DiskImageError where a qcow2 names other files."""
    try:
        header_of(file, name=name).check_contained()
    except Qcow2Error as error:
        raise _refused(name, error) from error


def _refused(name: str, error: Qcow2Error) -> DiskImageError:
    return DiskImageError(f"{name} {error}", hint=f"if you trust it: {error.hint}" if error.hint else "")


class Qcow2Source:
    """Raises DiskImageError, here and when it is read, for what is damaged or not understood."""

    def __init__(self, file: Source, *, name: str) -> None:
        self._file, self._name = file, name
        header = header_of(file, name=name)
        try:
            header.check_readable()
        except Qcow2Error as error:
            raise _refused(name, error) from error
        self._header = header
        self.size = header.size
        self._l1 = struct.unpack(f">{header.tables}Q", file.read(header.l1_offset, header.tables * 8))
        self._tables, self._clusters = Recent(_KEPT), Recent(_KEPT)

    def read(self, offset: int, size: int) -> bytes:
        check(offset, size, self.size)
        pieces = []
        while size:
            index, within = divmod(offset, self._header.cluster_size)
            part = min(size, self._header.cluster_size - within)
            pieces.append(self._part(index, within, part))
            offset += part
            size -= part
        return b"".join(pieces)

    def _part(self, index: int, within: int, size: int) -> bytes:
        """Of one cluster."""
        above, place = divmod(index, self._header.entries_per_table)
        table = table_offset(self._l1[above])
        entry = self._entry(table, place) if table else 0
        if is_compressed(entry):
            return self._inflated(entry)[within : within + size]
        offset, _ = extent(entry, self._header.cluster_bits)
        return self._stored(offset + within, size) if offset else bytes(size)

    def _entry(self, table: int, place: int) -> int:
        block = self._tables.get(table)
        if block is None:
            block = self._tables.put(table, self._stored(table, self._header.cluster_size))
        entry: int = struct.unpack_from(">Q", block, place * 8)[0]
        return entry

    def _stored(self, offset: int, size: int) -> bytes:
        """Of the file. It may end within its last cluster: the rest reads as zeros."""
        if offset - offset % self._header.cluster_size >= self._file.size:
            raise DiskImageError(f"{self._name} ends before byte {offset}, which it refers to: is it whole?")
        stored = max(0, min(size, self._file.size - offset))
        return self._file.read(offset, stored).ljust(size, b"\0") if stored else bytes(size)

    def _inflated(self, entry: int) -> bytes:
        cluster = self._clusters.get(entry)
        if cluster is not None:
            return cluster
        offset, size = extent(entry, self._header.cluster_bits)
        size = min(size, self._file.size - offset)
        if size <= 0:
            raise DiskImageError(f"{self._name} ends before byte {offset}, which it refers to: is it whole?")
        data = self._file.read(offset, size)
        cluster = _decompress(data, self._header.cluster_size, zstd=self._header.compression == ZSTD)
        if len(cluster) != self._header.cluster_size:
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

"""A qcow2 that is unpacked while it comes, in the order of the file.

    ranges ──► header, L1 table, L2 tables ──► where in the file each cluster of the disk is
                                                   │ sorted by place in the file
    the whole file, once, from its first byte ─────┴──► clusters of the disk, in that order

Nothing is read twice but the tables, and those that come with the file must be those that were read before. What no
table names reads as zeros. Versions 2 and 3, clusters of 512 bytes to 2 MiB, compressed by deflate or zstd
(qemu/docs/interop/qcow2.txt; block/qcow2-threads.c for what compressed data is). No other file is ever read, so no
backing file and no external data; no encryption, no extended L2 entries.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator

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
from pull.errors import PullError
from pull.zstd import Decompressor

_MOST_CLUSTERS = 1 << 22
"""In use: 256 GiB of data at the usual size, and some 400 MB of memory here."""
_MOST_REQUESTS = 1 << 16
"""For L2 tables: 32 TiB at the usual cluster size. Tables that lie side by side are one request."""
_AT_ONCE = 4 << 20
_TABLE = 1 << 63


class Qcow2:
    """`read(offset, size)` gives bytes of the file, of `file_size` bytes. Raises PullError for what is damaged or
    not understood."""

    def __init__(self, read: Callable[[int, int], bytes], file_size: int, *, room: int) -> None:
        """Reads nothing but the header of a disk that is larger than `room` bytes, and raises PullError."""
        self._read, self._file_size = read, file_size
        self._header = self._checked(0, min(4096, file_size))
        header = _parsed(self._header)
        if header.size > room:
            raise PullError(f"the disk is too small: it has {room} bytes, the image wants {header.size}")
        self.size = header.size
        self.cluster = header.cluster_size
        self._zstd = header.compression == ZSTD
        self._bits = header.cluster_bits
        self._codec: Decompressor | None = None
        self._tables = [(0, hashlib.sha256(self._header).digest(), len(self._header))]
        self._places = array("Q")
        self._sizes = array("I")  # of compressed clusters; 0: as it is
        self._what = array("Q")  # a cluster of the disk, or _TABLE and a number
        self._read_tables(header)
        self._order = array("I", sorted(range(len(self._places)), key=self._places.__getitem__))

    def _checked(self, offset: int, size: int) -> bytes:
        if size <= 0 or offset + size > self._file_size:
            raise PullError(f"the image is damaged: it refers to byte {offset + size} of {self._file_size}")
        return self._read(offset, size)

    def _read_tables(self, header: Header) -> None:
        l1 = self._checked(header.l1_offset, header.tables * 8) if header.tables else b""
        if l1:
            self._note_table(header.l1_offset, l1)
        clusters = -(-self.size // self.cluster)
        offsets = [table_offset(entry) for entry in struct.unpack(f">{header.tables}Q", l1)]
        count = len(offsets) - offsets.count(0)
        if count * self.cluster > self._file_size:
            raise PullError(f"the image is damaged: {count} tables in {self._file_size} bytes")
        numbers = {offset: number for number, offset in enumerate(offsets) if offset}
        if len(numbers) < count:
            raise PullError("the image is damaged: two parts of the disk have one table")
        for offset, table in self._tables_at(sorted(numbers)):
            self._note_table(offset, table)
            first = numbers[offset] * header.entries_per_table
            for place, entry in enumerate(struct.unpack(f">{header.entries_per_table}Q", table)):
                if entry and first + place < clusters:
                    self._note(entry, first + place)

    def _tables_at(self, offsets: list[int]) -> Iterator[tuple[int, bytes]]:
        """Each L2 table with its offset, in the order of the file; neighbours are read at once."""
        runs: list[tuple[int, int]] = []
        for offset in offsets:
            start, end = runs[-1] if runs else (0, 0)
            if offset == end and end - start < _AT_ONCE:
                runs[-1] = (start, end + self.cluster)
            else:
                runs.append((offset, offset + self.cluster))
        if len(runs) > _MOST_REQUESTS:
            raise PullError(
                f"the qcow2 has its tables in {len(runs)} places, more than {_MOST_REQUESTS}: make it with larger"
                " clusters (cluster_size), or take a raw image compressed by zstd"
            )
        for start, end in runs:
            data = self._checked(start, end - start)
            for at in range(0, end - start, self.cluster):
                yield start + at, data[at : at + self.cluster]

    def _note_table(self, offset: int, data: bytes) -> None:
        self._places.append(offset)
        self._sizes.append(0)
        self._what.append(_TABLE | len(self._tables))
        self._tables.append((offset, hashlib.sha256(data).digest(), len(data)))

    def _note(self, entry: int, guest: int) -> None:
        offset, size = extent(entry, self._bits)
        if is_compressed(entry):
            size = min(size, self._file_size - offset)
        elif offset:
            size = 0
        else:
            return
        if offset >= self._file_size or offset < HEADER_SIZE:
            raise PullError(f"the image is damaged: it refers to byte {offset} of {self._file_size}")
        if len(self._places) >= _MOST_CLUSTERS:
            raise PullError(
                f"the qcow2 has more than {_MOST_CLUSTERS} clusters of {self.cluster} bytes in use: make it with larger"
                " ones (cluster_size), or take a raw image compressed by zstd"
            )
        self._places.append(offset)
        self._sizes.append(size)
        self._what.append(guest)

    def gaps(self) -> Iterator[tuple[int, int]]:
        """(offset, size) of all parts of the disk that read as zeros."""
        at = 0
        for guest in sorted(what for what in self._what if what < _TABLE):
            if guest * self.cluster > at:
                yield at, guest * self.cluster - at
            at = (guest + 1) * self.cluster
        if at < self.size:
            yield at, self.size - at

    def beginning(self, size: int) -> bytes:
        """The first bytes of the disk."""
        size = min(size, self.size)
        found = bytearray(size)
        for index, guest in enumerate(self._what):
            start = guest * self.cluster
            if guest < _TABLE and start < size:
                place = self._places[index]
                data = self._cluster(index, self._read(place, self._need(index)))
                found[start : start + self.cluster] = data[: size - start]
        return bytes(found)

    def _need(self, index: int) -> int:
        """Bytes of the file that a place takes. The last cluster of a file may be cut short."""
        what = self._what[index]
        wanted = self._tables[what & ~_TABLE][2] if what & _TABLE else self._sizes[index] or self.cluster
        return min(wanted, self._file_size - self._places[index])

    def _cluster(self, index: int, data: bytes) -> bytes:
        if not self._sizes[index]:
            return data.ljust(self.cluster, b"\0")
        try:
            if self._zstd:
                self._codec = self._codec or Decompressor()
                found = self._codec.cluster(data, self.cluster)
            else:
                found = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, self.cluster)
        except (ValueError, zlib.error):
            found = b""
        if len(found) != self.cluster:
            raise PullError(f"the image is damaged: its compressed cluster at byte {self._places[index]}")
        return found

    def unpack(self, pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        """(offset on the disk, bytes) of all that is in use. Takes the file to its end."""
        feed = iter(pieces)
        window, base = bytearray(), 0
        if (piece := next(feed, None)) is not None:
            window += piece
        if hashlib.sha256(window[: len(self._header)]).digest() != self._tables[0][1]:
            raise _changed()
        for index in self._order:
            place, need, what = self._places[index], self._need(index), self._what[index]
            while base + len(window) < place + need:
                if base + len(window) <= place:
                    base += len(window)
                    window.clear()
                piece = next(feed, None)
                if piece is None:
                    raise PullError("the image is damaged: it ended before its last cluster")
                window += piece
            if base < place:
                del window[: place - base]
                base = place
            data = bytes(window[:need])
            if what & _TABLE:
                if hashlib.sha256(data).digest() != self._tables[what & ~_TABLE][1]:
                    raise _changed()
                continue
            yield what * self.cluster, self._cluster(index, data)[: self.size - what * self.cluster]
        for _ in feed:
            pass


def _parsed(data: bytes) -> Header:
    try:
        header = parse_header(data)
        header.check_readable()
    except Qcow2Error as error:
        raise PullError(f"the image {error}{': ' if error.hint else ''}{error.hint}") from error
    return header


def _changed() -> PullError:
    return PullError("the image changed while it was read: its tables are not those that came first")

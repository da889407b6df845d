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

from pull.errors import PullError
from pull.zstd import Decompressor

MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_FEATURES = struct.Struct(">Q")
_OFFSET = (1 << 56) - (1 << 9)
_COMPRESSED = 1 << 62
_ZERO = 1
_KNOWN = 0b1011  # dirty, corrupt, compression type
_CLAIMS = {1 << 2: "its data in another file", 1 << 4: "extended L2 entries"}
_LARGEST_L1 = 32 << 20  # bytes, as QEMU's block/qcow2.h has it
_MOST_CLUSTERS = 1 << 22
"""In use: 256 GiB of data at the usual size, and some 400 MB of memory here."""
_TABLE = 1 << 63
_SECTOR = 512


class Qcow2:
    """`read(offset, size)` gives bytes of the file, of `file_size` bytes. Raises PullError for what is damaged or
    not understood."""

    def __init__(self, read: Callable[[int, int], bytes], file_size: int) -> None:
        self._read, self._file_size = read, file_size
        self._header = self._checked(0, min(4096, file_size))
        if len(self._header) < 112:
            raise PullError("the image is damaged: a qcow2 of a few bytes")
        _, version, backing, _, bits, size, encrypted, l1_entries, l1_offset, *_ = _HEADER.unpack_from(
            self._header
        )
        self._zstd = self._check(version, bits, backing, encrypted)
        self.size: int = size
        self.cluster: int = 1 << bits
        self._bits = bits
        self._codec: Decompressor | None = None
        per_table = self.cluster // 8
        wanted = -(-size // (self.cluster * per_table))
        if l1_entries < wanted or wanted * 8 > _LARGEST_L1:
            raise PullError(f"the image is damaged: {l1_entries} entries in the L1 table, for {size} bytes")
        self._tables = [(0, hashlib.sha256(self._header).digest(), len(self._header))]
        self._places = array("Q")
        self._sizes = array("I")  # of compressed clusters; 0: as it is
        self._what = array("Q")  # a cluster of the disk, or _TABLE and a number
        self._read_tables(l1_offset, wanted, per_table)
        self._order = array("I", sorted(range(len(self._places)), key=self._places.__getitem__))

    def _check(self, version: int, bits: int, backing: int, encrypted: int) -> bool:
        """Whether clusters are compressed by zstd."""
        if version not in (2, 3) or not 9 <= bits <= 21:
            raise PullError(
                f"a qcow2 of version {version} with clusters of 2^{bits} bytes: 2 and 3, 9 to 21 are known"
            )
        if backing:
            raise PullError(
                "the qcow2 is only a difference to another file: `qemu-img convert` makes a whole one"
            )
        if encrypted:
            raise PullError("the qcow2 is encrypted: `qemu-img convert` makes one that is not")
        if version == 2:
            return False
        (features,) = _FEATURES.unpack_from(self._header, 72)
        if features & ~_KNOWN:
            what = (
                ", ".join(name for bit, name in _CLAIMS.items() if features & bit)
                or f"features {features:#x}"
            )
            raise PullError(f"the qcow2 has {what}: `qemu-img convert -O qcow2` makes one without")
        (length,) = struct.unpack_from(">I", self._header, 100)
        kind = self._header[104] if features & 0b1000 and length > 104 else 0
        if kind not in (0, 1):
            raise PullError(f"the qcow2 is compressed in a way that is not known ({kind})")
        return kind == 1

    def _checked(self, offset: int, size: int) -> bytes:
        if size <= 0 or offset + size > self._file_size:
            raise PullError(f"the image is damaged: it refers to byte {offset + size} of {self._file_size}")
        return self._read(offset, size)

    def _read_tables(self, l1_offset: int, entries: int, per_table: int) -> None:
        l1 = self._checked(l1_offset, entries * 8) if entries else b""
        if l1:
            self._note_table(l1_offset, l1)
        clusters = -(-self.size // self.cluster)
        for above, pointer in enumerate(struct.unpack(f">{entries}Q", l1)):
            if not pointer & _OFFSET:
                continue
            table = self._checked(pointer & _OFFSET, self.cluster)
            self._note_table(pointer & _OFFSET, table)
            first = above * per_table
            for place, entry in enumerate(struct.unpack(f">{per_table}Q", table)):
                if entry and first + place < clusters:
                    self._note(entry, first + place)

    def _note_table(self, offset: int, data: bytes) -> None:
        self._places.append(offset)
        self._sizes.append(0)
        self._what.append(_TABLE | len(self._tables))
        self._tables.append((offset, hashlib.sha256(data).digest(), len(data)))

    def _note(self, entry: int, guest: int) -> None:
        if entry & _COMPRESSED:
            shift = 62 - (self._bits - 8)
            offset = entry & ((1 << shift) - 1)
            sectors = (entry >> shift & ((1 << (self._bits - 8)) - 1)) + 1
            size = min(sectors * _SECTOR - offset % _SECTOR, self._file_size - offset)
        else:
            offset, size = entry & _OFFSET, 0
            if not offset or entry & _ZERO:
                return
        if offset >= self._file_size or offset < _HEADER.size:
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


def _changed() -> PullError:
    return PullError("the image changed while it was read: its tables are not those that came first")

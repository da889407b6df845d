"""A reader of qcow2 for tests, written from the specification: it shares nothing with dibo's writer.

`read` gives the disk; `check` does what `qemu-img check` does, and looks at what that does not.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import zstandard


class Qcow2File:
    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        (
            magic, self.version, backing, backing_size, self.cluster_bits, self.size, crypt, self.l1_size,
            self.l1_offset, self.refcounts_offset, self.refcounts_clusters, snapshots, _,
            self.incompatible, compatible, autoclear, self.refcount_order, self.header_length, self.compression,
        ) = struct.unpack_from(">4sIQIIQIIQQIIQQQQIIB", self.data)  # fmt: skip
        assert magic == b"QFI\xfb"
        assert (self.version, backing, backing_size, crypt, snapshots) == (3, 0, 0, 0, 0)
        assert (compatible, autoclear, self.refcount_order, self.header_length) == (0, 0, 4, 112)
        assert self.incompatible == (0b1000 if self.compression else 0)
        self.cluster = 1 << self.cluster_bits

    @property
    def extensions(self) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        position = self.header_length
        while True:
            kind, length = struct.unpack_from(">II", self.data, position)
            if kind == 0:
                return found
            found[kind] = self.data[position + 8 : position + 8 + length]
            position += 8 + -(-length // 8) * 8

    @property
    def l1(self) -> tuple[int, ...]:
        return self._numbers("Q", self.l1_offset, self.l1_size)

    def entries(self) -> Iterator[tuple[int, int]]:
        """Number and entry of each cluster of the disk that has one."""
        for place, entry in enumerate(self.l1):
            if entry:
                table = self._numbers("Q", entry & ~(1 << 63), self.cluster // 8)
                for number, inner in enumerate(table):
                    if inner:
                        yield place * (self.cluster // 8) + number, inner

    def is_compressed(self, entry: int) -> bool:
        return bool(entry >> 62 & 1)

    def extent(self, entry: int) -> tuple[int, int]:
        """Offset and length in the file."""
        if not self.is_compressed(entry):
            assert entry & 0x7F000000000001FF == 0
            return entry & ~(1 << 63), self.cluster
        bits = 62 - (self.cluster_bits - 8)
        offset = entry & ((1 << bits) - 1)
        sectors = entry >> bits & 0xFF
        return offset, (offset // 512 + sectors + 1) * 512 - offset

    def cluster_of(self, entry: int) -> bytes:
        offset, length = self.extent(entry)
        data = self.data[offset : offset + length]
        assert len(data) == length, "beyond the end of the file"
        if self.is_compressed(entry):
            if self.compression == 1:
                data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
            else:
                data = zlib.decompressobj(-15).decompress(data, self.cluster)
        assert len(data) == self.cluster
        return data

    def read(self) -> bytes:
        disk = bytearray(-(-self.size // self.cluster) * self.cluster)
        for number, entry in self.entries():
            disk[number * self.cluster : (number + 1) * self.cluster] = self.cluster_of(entry)
        assert not any(disk[self.size :])
        return bytes(disk[: self.size])

    def check(self) -> None:
        """Every cluster of the file is counted as often as it is referred to, and what lies alone says so."""
        assert len(self.data) % self.cluster == 0
        counts = Counter({0: 1})
        places: Counter[int] = Counter()

        def refer(offset: int, length: int) -> None:
            counts.update(range(offset // self.cluster, (offset + length - 1) // self.cluster + 1))

        def table(offset: int, clusters: int) -> None:
            assert offset % self.cluster == 0
            assert offset > 0
            refer(offset, clusters * self.cluster)

        table(self.l1_offset, -(-self.l1_size * 8 // self.cluster))
        for entry in filter(None, self.l1):
            assert entry >> 63
            table(entry & ~(1 << 63), 1)
        for _, entry in self.entries():
            offset, length = self.extent(entry)
            assert entry >> 63 == (not self.is_compressed(entry))
            assert self.is_compressed(entry) or offset % self.cluster == 0
            places[offset] += 1
            refer(offset, length)
        table(self.refcounts_offset, self.refcounts_clusters)
        blocks = self._numbers("Q", self.refcounts_offset, self.refcounts_clusters * self.cluster // 8)
        stored: dict[int, int] = {}
        for place, offset in enumerate(blocks):
            if offset:
                table(offset, 1)
                for number, count in enumerate(self._numbers("H", offset, self.cluster // 2)):
                    if count:
                        stored[place * (self.cluster // 2) + number] = count
        assert stored == dict(counts)
        assert max(counts) < len(self.data) // self.cluster
        assert all(count == 1 for count in places.values())

    def _numbers(self, kind: str, offset: int, count: int) -> tuple[int, ...]:
        return struct.unpack_from(f">{count}{kind}", self.data, offset)


def read_qcow2(path: Path) -> bytes:
    """The disk in a file that is checked first."""
    file = Qcow2File(path)
    file.check()
    return file.read()

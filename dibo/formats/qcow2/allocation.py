"""Where the clusters of a qcow2 are: which cluster of the disk lies where in the file, and what of the file is taken.

Compressed data is packed byte by byte, clusters that do not shrink need a place of their own; if they took turns in one
row, each change would lose what is left of a cluster. So both take from stretches of 2 MiB of their own:

    │header│ compressed ····│ as they are │ compressed ···········│ as they are │ L2 tables, L1, refcounts │
                            ▲ next stretch when the last is full; those that follow each other are one

Nothing here touches a file; offsets follow from the order of the calls alone.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from typing import Final

from dibo.formats.qcow2.format import (
    CLUSTER,
    L2_ENTRIES,
    REFCOUNTS,
    compressed_entry,
    encode_header,
    extent,
    table_entry,
)

PENDING: Final = 1
"""In place of an entry: the cluster is finished, its place in the file is not known yet."""
_STRETCH: Final = 32
"""Clusters."""


class ClusterMap:
    """Entries of clusters by number; 8 bytes each, of every 512 MiB that holds one."""

    def __init__(self) -> None:
        self.tables: dict[int, array[int]] = {}
        """L2 tables by their place in the L1 table."""

    def get(self, index: int) -> int:
        table = self.tables.get(index // L2_ENTRIES)
        return table[index % L2_ENTRIES] if table is not None else 0

    def set(self, index: int, entry: int) -> None:
        table = self.tables.get(index // L2_ENTRIES)
        if table is None:
            table = self.tables[index // L2_ENTRIES] = array("Q", bytes(CLUSTER))
        table[index % L2_ENTRIES] = entry

    def used(self, first: int, end: int) -> Iterator[int]:
        """Numbers of the clusters from `first` to before `end` that have an entry."""
        for place, table in sorted(self.tables.items()):
            start = place * L2_ENTRIES
            for index in range(max(first, start), min(end, start + L2_ENTRIES)):
                if table[index - start]:
                    yield index


class _Stretch:
    """Bytes of the file from `position` to `end` that one kind of data may take next."""

    def __init__(self) -> None:
        self.position = self.end = 0


class Space:
    """What of the file is taken, and how often. The first cluster is the header's."""

    def __init__(self) -> None:
        self._refcounts = array("H", [1])
        self._packed = _Stretch()
        self._whole = _Stretch()

    def put_compressed(self, size: int) -> tuple[int, int]:
        """A place for `size` bytes, less than a cluster: its offset and its entry."""
        offset = self._from(self._packed, size)
        self._count(offset, size, 1)
        return offset, compressed_entry(offset, size)

    def put_whole(self) -> tuple[int, int]:
        """A place for a cluster as it is: its offset and its entry."""
        offset = self._from(self._whole, CLUSTER)
        self._count(offset, CLUSTER, 1)
        return offset, table_entry(offset)

    def drop(self, entry: int) -> None:
        """What `entry` refers to is not needed any more. Its place is not given again."""
        self._count(*extent(entry), -1)

    def finish(self, clusters: ClusterMap, *, size: int, compression: int) -> Iterator[tuple[int, bytes]]:
        """All that a disk of `size` bytes needs besides its data, with offsets; the header comes last."""
        l1 = array("Q", bytes(8 * max(1, -(-size // (CLUSTER * L2_ENTRIES)))))
        spare = [*self._rest(self._packed), *self._rest(self._whole)]
        for place, table in sorted(clusters.tables.items()):
            if any(table):
                offset = spare.pop(0) if spare else self._append(1)
                self._count(offset, CLUSTER, 1)
                l1[place] = table_entry(offset)
                yield offset, _big_endian(table)
        l1_clusters = -(-len(l1) * 8 // CLUSTER)
        l1_offset = self._append(l1_clusters, 1)
        yield l1_offset, _big_endian(l1).ljust(l1_clusters * CLUSTER, b"\0")
        # Refcounts count the clusters of refcounts too.
        blocks = table_clusters = 0
        while True:
            total = len(self._refcounts) + blocks + table_clusters
            needed = -(-total // REFCOUNTS)
            if blocks == needed and table_clusters == -(-needed * 8 // CLUSTER):
                break
            blocks, table_clusters = needed, -(-needed * 8 // CLUSTER)
        table_offset = self._append(table_clusters, 1)
        blocks_offset = self._append(blocks, 1)
        offsets = array("Q", [blocks_offset + number * CLUSTER for number in range(blocks)])
        yield table_offset, _big_endian(offsets).ljust(table_clusters * CLUSTER, b"\0")
        yield blocks_offset, _big_endian(self._refcounts).ljust(blocks * CLUSTER, b"\0")
        yield (
            0,
            encode_header(
                size=size,
                compression=compression,
                l1_offset=l1_offset,
                l1_entries=len(l1),
                refcounts_offset=table_offset,
                refcounts_clusters=table_clusters,
            ),
        )

    @property
    def length(self) -> int:
        """Of the file, in bytes."""
        return len(self._refcounts) * CLUSTER

    def _from(self, stretch: _Stretch, size: int) -> int:
        if stretch.position + size > stretch.end:
            start = self._append(_STRETCH)
            if start != stretch.end:
                stretch.position = start
            stretch.end = start + _STRETCH * CLUSTER
        offset = stretch.position
        stretch.position += size
        return offset

    def _append(self, clusters: int, references: int = 0) -> int:
        """New clusters at the end of the file; the offset of the first."""
        start = len(self._refcounts)
        self._refcounts.extend([references] * clusters)
        return start * CLUSTER

    def _count(self, offset: int, size: int, references: int) -> None:
        for cluster in range(offset // CLUSTER, (offset + size - 1) // CLUSTER + 1):
            self._refcounts[cluster] += references

    def _rest(self, stretch: _Stretch) -> list[int]:
        """Offsets of the clusters that a stretch has left; nothing will be put there any more. Those at the end of
        the file are cut off instead."""
        first = -(-stretch.position // CLUSTER) * CLUSTER
        if stretch.end == self.length:
            del self._refcounts[first // CLUSTER :]
            return []
        return list(range(first, stretch.end, CLUSTER))


def _big_endian(numbers: array[int]) -> bytes:
    if sys.byteorder == "little":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers.tobytes()

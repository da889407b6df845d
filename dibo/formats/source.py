"""Bytes at offsets: what every reader of a disk image reads from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Protocol

from dibo.errors import DiskImageError

PIECE: Final = 1 << 20
"""Bytes that are read at once of what is long."""


class Source(Protocol):
    """A disk, or a part of one."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from byte `offset` on. Raises DiskImageError where there are not so many."""


class Window:
    """A part of a source, such as a partition; what lies beyond the source's end cannot be read."""

    def __init__(self, source: Source, offset: int, size: int) -> None:
        self._source, self._offset, self.size = source, offset, size

    def read(self, offset: int, size: int) -> bytes:
        check(offset, size, self.size)
        return self._source.read(self._offset + offset, size)


def check(offset: int, size: int, end: int) -> None:
    """Raises DiskImageError unless `size` bytes from `offset` on end by byte `end`."""
    if offset < 0 or size < 0 or offset + size > end:
        raise DiskImageError(f"bytes {offset} to {offset + size} are beyond the end at {end}")


def pieces(source: Source, offset: int, size: int) -> Iterator[bytes]:
    """A long stretch, a piece at a time."""
    for start in range(offset, offset + size, PIECE):
        yield source.read(start, min(PIECE, offset + size - start))


class Recent:
    """Blocks that were read lately, up to a number of bytes of them."""

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes = limit, 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def get(self, key: int) -> bytes | None:
        block = self._blocks.get(key)
        if block is not None:
            self._blocks.move_to_end(key)
        return block

    def put(self, key: int, block: bytes) -> bytes:
        self._blocks[key] = block
        self._bytes += len(block)
        while self._bytes > self._limit and len(self._blocks) > 1:
            self._bytes -= len(self._blocks.popitem(last=False)[1])
        return block

"""A file that contents wait in, for formats that are written in another order than layers are read.

What is written is appended, so a spool is as long as all files of the tree, and what was released stays until the
spool is closed. Holes are holes of the spool, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO, Final

from dibo.images.layers.tar_sparse import Map
from dibo.tree.node import Buffer

_READ: Final = 1 << 20
_MANY: Final = 512  # below what Linux takes at once (IOV_MAX, 1024)


class _Spooled:
    """A file in the spool: where it begins, and where its holes are."""

    __slots__ = ("offset", "pieces", "size")

    def __init__(self, offset: int, size: int) -> None:
        self.offset = offset
        self.size = size
        self.pieces: list[tuple[int, int]] | None = None
        """Of a file with holes: offset and length of what lies between them."""


class Spool:
    """Contents (dibo.tree.node) in `file`, which is empty, open for reading and writing, and best without a name."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file  # keeps the descriptor open
        self._descriptor = file.fileno()
        self._file_at_hand = _Spooled(0, 0)
        self._pending: list[Buffer] = []
        self._pending_at = 0
        self._end = 0
        """Of what has been written and is pending."""

    def begin(self, size: int) -> object:
        self._file_at_hand = _Spooled(self._end, size)
        return self._file_at_hand

    def write(self, data: Buffer) -> None:
        self._pending.append(data)
        pieces = self._file_at_hand.pieces
        if pieces is not None:
            pieces.append((self._end - self._file_at_hand.offset, len(data)))
        self._end += len(data)
        if len(self._pending) >= _MANY:
            self.flush()

    def skip(self, size: int) -> None:
        self.flush()
        file = self._file_at_hand
        if file.pieces is None:
            before = self._end - file.offset
            file.pieces = [(0, before)] if before else []
        self._end += size
        self._pending_at = self._end

    def flush(self) -> None:
        """Raises OSError, as the file system says it."""
        offset = self._pending_at
        pending = self._pending
        while pending:
            count = os.pwritev(self._descriptor, pending, offset)
            offset += count
            while pending and count >= len(pending[0]):
                count -= len(pending.pop(0))
            if count:
                pending[0] = memoryview(pending[0])[count:]
        self._pending_at = self._end

    def release(self, content: object) -> None:
        """Nothing: the space comes back with that of all others."""

    def map(self, content: object) -> Map | None:
        """Where the data of a file lies between its holes: (offset, length). None where it has no holes."""
        assert isinstance(content, _Spooled)
        if content.pieces is None:
            return None
        joined: list[tuple[int, int]] = []
        for offset, length in content.pieces:
            if joined and sum(joined[-1]) == offset:
                joined[-1] = (joined[-1][0], joined[-1][1] + length)
            else:
                joined.append((offset, length))
        return tuple(joined)

    def read(self, content: object, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Pieces of a file's bytes, from `offset` on; `size` of them, or all that are left."""
        assert isinstance(content, _Spooled)
        self.flush()
        position = content.offset + offset
        left = content.size - offset if size is None else size
        while left:
            data = os.pread(self._descriptor, min(left, _READ), position)
            # A hole at the very end lies beyond the end of the spool.
            data = data or bytes(min(left, _READ))
            position += len(data)
            left -= len(data)
            yield data

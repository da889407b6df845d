"""Blocks on their way to the target: what follows each other is written together."""

from __future__ import annotations

from typing import Final

from dibo.formats.ext4.layout import BLOCK
from dibo.formats.target import Buffer, Target

MANY: Final = 1000
"""Buffers for one write: below IOV_MAX of Linux, 1024."""
LARGE: Final = 4 << 20
"""Bytes for one write."""


class Output:
    def __init__(self, target: Target, offset: int, limit: int) -> None:
        """`offset`: byte of block 0; `limit`: blocks from there on are not written."""
        self.limit = limit
        self._target = target
        self._offset = offset
        self._buffers: list[Buffer] = []
        self._start = 0
        self._end = 0

    def put(self, block: int, data: Buffer, *, skip: int = 0) -> None:
        """Write `data` from byte `skip` of `block` on. It must not change before `flush`."""
        if block >= self.limit:
            return
        at = block * BLOCK + skip
        if at != self._end or len(self._buffers) >= MANY or at - self._start >= LARGE:
            self.flush()
            self._start = at
        self._buffers.append(data)
        self._end = at + len(data)

    def flush(self) -> None:
        if self._buffers:
            self._target.write(self._offset + self._start, self._buffers)
            self._buffers = []

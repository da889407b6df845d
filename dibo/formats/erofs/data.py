"""File data, put in its place as it streams by.

Data lies in whole blocks from block 1 on, each file in one piece, in the order of the stream: nothing is written twice,
and nothing before it has to be known. What a file's last block would hold stays in memory until its inode is written,
and goes behind that, unless it is too long to share a block with an inode, or memory is used up.

    | superblock | a a a | b | c c ···· c | directories | inodes, with ends of files | shared attributes |
      block 0

64 KiB of zeros, at a multiple of 64 KiB in a file, are not written: the image has a hole there.
"""

from __future__ import annotations

from typing import Final

from dibo.formats.erofs.errors import ErofsError
from dibo.formats.erofs.structures import BLOCK, INODE, MAX_BLOCKS, blocks_of
from dibo.formats.erofs.xattrs import MOST as MOST_ATTRIBUTES
from dibo.formats.target import Buffer, Target

MOST_INLINE: Final = BLOCK - INODE.size - MOST_ATTRIBUTES
"""Bytes of data that fit behind any inode."""
TAILS_IN_MEMORY: Final = 128 << 20
"""Bytes of all ends of files that wait in memory."""
_STRETCH: Final = 64 << 10
_ZEROS: Final = memoryview(bytes(_STRETCH))
_NO_DATA: Final = bytes(_STRETCH)
_LARGE: Final = 4 << 20
_MANY: Final = 1000


class ErofsContent:
    """The data of one file. Only the writer looks inside."""

    __slots__ = ("block", "blocks", "is_released", "size", "tail", "used")

    def __init__(self, size: int) -> None:
        self.size = size
        self.block = self.blocks = 0
        """The first block, and how many there are."""
        self.tail: bytes | None = None
        """What follows the inode, once it is there; None where all data is in blocks."""
        self.used = self.is_released = False


class ErofsDataWriter:
    """The first half of the writer: files. It is `Contents` for readers of trees. Not for several threads at once."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._reset()

    def _reset(self) -> None:
        self._next = 1
        self._buffers: list[Buffer] = []
        self._pending = 0
        self._at = BLOCK
        """Where the pending buffers go."""
        self._tails = 0
        # the file at hand
        self._content = ErofsContent(0)
        self._left = 0
        self._left_in_blocks = 0
        self._tail = bytearray()

    def begin(self, size: int) -> ErofsContent:
        """A file of `size` bytes begins. Raises ErofsError when the file system would be larger than 16 TiB."""
        if self._left:
            self.release(self._content)
        content = ErofsContent(size)
        tail = size % BLOCK
        is_inline = 0 < tail <= MOST_INLINE and self._tails + tail <= TAILS_IN_MEMORY
        in_blocks = size - tail if is_inline else size
        content.block, content.blocks = self._next, blocks_of(in_blocks)
        if size < 0 or self._next + content.blocks > MAX_BLOCKS:
            raise ErofsError(f"a file of {size} bytes: erofs holds up to 16 TiB")
        if is_inline:
            content.tail = b""
            self._tails += tail
        self._next += content.blocks
        self._content = content
        self._left, self._left_in_blocks = size, in_blocks
        self._tail = bytearray()
        return content

    def write(self, data: Buffer) -> None:
        """The next bytes of the file. `data` is kept until `flush`. Raises ErofsError when it is too much."""
        size = len(data)
        if size > self._left:
            raise ErofsError(f"{size} bytes for a file of which {self._left} are missing")
        in_blocks = min(size, self._left_in_blocks)
        if in_blocks:
            self._put(data if in_blocks == size else memoryview(data)[:in_blocks])
        if in_blocks < size:
            self._tail += memoryview(data)[in_blocks:]
        self._advance(size)

    def skip(self, size: int) -> None:
        """The next `size` bytes are a hole: they read as zeros, and the image has a hole there, too."""
        if not 0 <= size <= self._left:
            raise ErofsError(f"a hole of {size} bytes in a file of which {self._left} are missing")
        in_blocks = min(size, self._left_in_blocks)
        if in_blocks:
            self._left_in_blocks -= in_blocks
            self._leave_out(in_blocks)
        self._tail += bytes(size - in_blocks)
        self._advance(size)

    def store(self, data: Buffer) -> ErofsContent:
        """A whole file at once."""
        content = self.begin(len(data))
        self.write(data)
        return content

    def flush(self) -> None:
        """Whatever was written reaches the target: buffers may change after this."""
        if self._buffers:
            self._target.write(self._at, self._buffers)
            self._at += self._pending
            self._buffers, self._pending = [], 0

    def release(self, content: object) -> None:
        """A file that is in no tree: its blocks read as zeros again; the next file takes those of the last."""
        if not isinstance(content, ErofsContent):
            raise ErofsError(f"{content!r} is not what begin() gave")
        if content.is_released:
            return
        content.is_released = True
        self.flush()
        if content.blocks:
            self._target.discard(content.block * BLOCK, content.blocks * BLOCK)
        if content.tail is not None:
            self._tails -= content.size % BLOCK
            content.tail = b""
        if content.block + content.blocks == self._next:
            self._next = content.block
            self._at = self._next * BLOCK
        if content is self._content:
            self._left = self._left_in_blocks = 0

    def restart(self) -> None:
        """As if nothing had been written: the stream begins anew."""
        self.flush()
        self._target.discard(BLOCK, (self._next - 1) * BLOCK)
        self._reset()

    def _advance(self, size: int) -> None:
        self._left -= size
        if self._left:
            return
        content = self._content
        if content.tail is not None:
            content.tail = bytes(self._tail)
        elif content.size % BLOCK:
            self._emit(_ZEROS[: -content.size % BLOCK])

    def _put(self, data: Buffer) -> None:
        """Data of blocks; stretches of zeros are left out."""
        size = len(data)
        place = self._content.blocks * BLOCK if self._content.tail is not None else self._content.size
        place -= self._left_in_blocks
        self._left_in_blocks -= size
        if size < _STRETCH:
            self._emit(data)
            return
        view = memoryview(data)
        start, at = 0, -place % _STRETCH
        while at + _STRETCH <= size:
            if view[at : at + _STRETCH] == _NO_DATA:
                if start < at:
                    self._emit(view[start:at])
                self._leave_out(_STRETCH)
                start = at + _STRETCH
            at += _STRETCH
        if start < size:
            self._emit(view[start:] if start else data)

    def _leave_out(self, size: int) -> None:
        self.flush()
        self._at += size

    def _emit(self, data: Buffer) -> None:
        self._buffers.append(data)
        self._pending += len(data)
        if self._pending >= _LARGE or len(self._buffers) >= _MANY:
            self.flush()

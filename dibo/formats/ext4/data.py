"""File data, put in its place as it streams by.

Data blocks are taken one after the other from the beginning of the file system, around the copies of the superblock.
So the stream is written in ascending order, in large pieces, and a file has one extent unless a copy or a hole lies
within. Nothing else is written before all data is: only then the number of inodes is known.

    group 0                        group 1
    | copy | a | b |  c  | d     | | copy |  d | e | f |·····free·····
                         └ extent 1 ┘      └ extent 2

Buffers are kept as they come, and handed to the target many at a time. What does not fit is counted but not written.

Engines write the holes of a file as zeros into layers. So 64 KiB of zeros, at a multiple of 64 KiB in the file, become
a hole again. Where a hole is follows from the file alone, not from the pieces in which it comes. A swap file gets none,
since Linux refuses it then (swapon(8)).
"""

from __future__ import annotations

from typing import Final

from dibo.formats.ext4.errors import Ext4Error
from dibo.formats.ext4.layout import BLOCK, Ext4Layout, Parameters, layout
from dibo.formats.ext4.output import LARGE, MANY
from dibo.formats.ext4.space import merge
from dibo.formats.file_range import FileRange, write_range
from dibo.formats.magic import SWAP
from dibo.formats.target import Buffer, Target

_ZEROS: Final = memoryview(bytes(BLOCK))
HOLE: Final = 64 << 10
"""Bytes of zeros that become a hole. Fewer would be many extents for little space."""
_NO_DATA: Final = bytes(HOLE)
_SWAP_AT: Final = BLOCK - len(SWAP)  # linux/swap.h, union swap_header
BEYOND: Final = 2**40
"""Blocks from here on do not exist: they are given to what does not fit, so that it is counted."""
MAX_FILE: Final = (2**32 - 1) * BLOCK
"""Bytes of a file: extents know its blocks by 32 bits (kernel documentation, filesystems/ext4/blocks.rst)."""


class Content:
    """The data of one file. Only the writer looks inside."""

    __slots__ = ("runs", "size", "used")

    def __init__(self, size: int) -> None:
        self.size = size
        self.runs: list[tuple[int, int, int]] | None = []
        """First block in the file, first block on the disk, count; None when it was released."""
        self.used = False


class DataWriter:
    """The first half of the writer: files. It is `Contents` for readers of trees. Not for several threads at once."""

    def __init__(self, target: Target, parameters: Parameters) -> None:
        self.parameters = parameters
        self._target = target
        self._layout: Ext4Layout = layout(parameters)
        self._gaps = self._layout.gaps()
        self._gap = 0
        self._next, self._gap_end = self._gaps[0]
        self._buffers: list[Buffer] = []
        self._pending = 0
        self._range: FileRange | None = None
        """What comes next out of another file. Then no buffers are pending."""
        self._at = parameters.offset + self._next * BLOCK
        self._freed: list[tuple[int, int]] = []
        self._freed_beyond = 0
        # the file at hand
        self._content = Content(0)
        self._left = 0
        self._position = 0
        self._room = 0
        """Bytes of the last block that are not written yet, when data has begun in it."""
        self._lead = 0
        """Bytes of a hole at the beginning of a block that is not allocated yet."""
        self._zeros = 0
        """Bytes of zeros that came last, all in one stretch of HOLE bytes, and are neither data nor a hole yet."""
        self._in_data = False
        """Whether there is other data in the stretch at hand."""
        self._mark = b""
        """What the file has where a swap file says that it is one."""

    @property
    def overflow(self) -> int:
        """Bytes of data that went beyond the end so far, and were not written."""
        return max(0, self._next - BEYOND - self._freed_beyond) * BLOCK

    def begin(self, size: int) -> Content:
        """A file of `size` bytes begins. Raises Ext4Error when it is larger than ext4 allows, 16 TiB."""
        if self._left:
            self.release(self._content)
        if not 0 <= size <= MAX_FILE:
            raise Ext4Error(f"a file of {size} bytes: ext4 holds up to {MAX_FILE}")
        self._content = content = Content(size)
        self._left = size
        self._position = self._zeros = 0
        self._in_data = False
        self._mark = b""
        return content

    def write(self, data: Buffer) -> None:
        """The next bytes of the file. `data` is kept until `flush`. Raises Ext4Error when it is too much."""
        if len(data) > self._left - self._zeros:
            raise Ext4Error(f"{len(data)} bytes for a file of which {self._left - self._zeros} are missing")
        if self._content.size < HOLE:
            self._put(data)
            return
        view = memoryview(data)
        place = self._position + self._zeros
        if place < BLOCK:
            self._mark += bytes(view[max(0, _SWAP_AT - place) : max(0, BLOCK - place)])
        if self._mark == SWAP:
            self._put_zeros()
            self._put(data)
            return
        start = at = 0  # of what is not passed on yet; of the stretch at hand
        while at < len(data):
            end = min(len(data), at + HOLE - (place + at) % HOLE)
            ends = (place + end) % HOLE == 0 or place + end == self._content.size
            if self._in_data or not _NO_DATA.startswith(view[at:end]):
                self._put_zeros()
                self._in_data = not ends
            else:
                if start < at:
                    self._put(view[start:at])
                start = end
                self._zeros += end - at
                if ends:
                    zeros, self._zeros = self._zeros, 0
                    self.skip(zeros)
            at = end
        if start < len(data):
            self._put(view[start:])

    def _put_zeros(self) -> None:
        """Zeros that turned out to be in a stretch with other data."""
        if self._zeros:
            zeros, self._zeros = self._zeros, 0
            self._put(memoryview(_NO_DATA)[:zeros])

    def _put(self, data: Buffer) -> None:
        """Data, whatever it is."""
        size = len(data)
        if size == self._left and not self._position:  # most files come whole
            blocks = (size + BLOCK - 1) // BLOCK
            start = self._next
            if start + blocks <= self._gap_end and size:
                runs = self._content.runs
                assert runs is not None
                runs.append((0, start, blocks))
                self._next = start + blocks
                self._left = 0
                if self._range is not None:
                    self.flush()
                self._buffers.append(data)
                if size % BLOCK:
                    self._buffers.append(_ZEROS[: -size % BLOCK])
                self._pending += blocks * BLOCK
                if self._pending >= LARGE or len(self._buffers) >= MANY:
                    self.flush()
                return
        if size:
            self._write(data, size)
            if not self._left:
                self._pad()

    def write_range(self, source: FileRange) -> None:
        """All bytes of the file that has begun, among them no zeros that become a hole. Ranges that follow each other
        are handed on as one."""
        size, start = source.size, self._next
        blocks = (size + BLOCK - 1) // BLOCK
        if not size or self._position or size != self._left or start + blocks > self._gap_end:
            for data in source.read():
                self.write(data)
            return
        assert self._content.runs is not None
        self._content.runs.append((0, start, blocks))
        self._next = start + blocks
        self._left = 0
        last = self._range
        if last is None or source.offset != last.offset + last.size or source.descriptor != last.descriptor:
            self.flush()
            last = FileRange(descriptor=source.descriptor, offset=source.offset, size=0)
        self._range = FileRange(
            descriptor=last.descriptor, offset=last.offset, size=last.size + blocks * BLOCK
        )
        self._pending += blocks * BLOCK

    def store(self, data: Buffer) -> Content:
        """A whole file at once."""
        content = self.begin(len(data))
        self.write(data)
        return content

    def skip(self, size: int) -> None:
        """The next `size` bytes are a hole: blocks that are wholly in it take no space."""
        self._put_zeros()
        if not 0 <= size <= self._left:
            raise Ext4Error(f"a hole of {size} bytes in a file of which {self._left} are missing")
        inside = min(size, self._room)
        if inside:
            self._emit(_ZEROS[:inside])
            self._room -= inside
        self._position += size
        self._left -= size
        if size > inside:
            self._lead = self._position % BLOCK
        if not self._left:
            self._pad()

    def flush(self) -> None:
        """Whatever was written reaches the target: buffers may change after this."""
        if not self._pending:
            return
        if self._gap < len(self._gaps):
            if self._range is not None:
                write_range(self._target, self._at, self._range)
            else:
                self._target.write(self._at, self._buffers)
        self._at += self._pending
        self._range = None
        self._buffers = []
        self._pending = 0

    def release(self, content: object) -> None:
        """A file that is in no tree: its blocks are free again."""
        if not isinstance(content, Content):
            raise Ext4Error(f"{content!r} is not what begin() gave")
        if content is self._content and self._left:
            self._left = 0
            self._pad()
        if content.runs:
            self.flush()
            for _, start, count in content.runs:
                if start < BEYOND:
                    self._target.discard(self.parameters.offset + start * BLOCK, count * BLOCK)
                    self._freed.append((start, start + count))
                else:
                    self._freed_beyond += count
        content.runs = None

    def _write(self, data: Buffer, size: int) -> None:
        """Any data: in the middle of a block, after a hole, across a gap."""
        if size > self._room:
            new = size - self._room + self._lead
            blocks = (new + BLOCK - 1) // BLOCK
            free = self._gap_end - self._next
            if blocks > free:
                fits = free * BLOCK + self._room - self._lead
                if fits > 0:
                    view = memoryview(data)
                    self._write(view[:fits], fits)
                    data, size = view[fits:], size - fits
                self._next_gap()
                self._write(data, size)
                return
            logical = (self._position + self._room) // BLOCK
            assert self._content.runs is not None
            merge(self._content.runs, logical, self._next, blocks)
            self._next += blocks
            self._room += blocks * BLOCK - self._lead
            if self._lead:
                self._emit(_ZEROS[: self._lead])
                self._lead = 0
        self._emit(data)
        self._room -= size
        self._position += size
        self._left -= size

    def _emit(self, data: Buffer) -> None:
        if self._range is not None:
            self.flush()
        self._buffers.append(data)
        self._pending += len(data)
        if self._pending >= LARGE or len(self._buffers) >= MANY:
            self.flush()

    def _pad(self) -> None:
        """The file has ended: so does its last block."""
        if self._room:
            self._emit(_ZEROS[: self._room])
        self._room = self._lead = 0

    def _next_gap(self) -> None:
        self.flush()
        self._gap += 1
        if self._gap < len(self._gaps):
            self._next, self._gap_end = self._gaps[self._gap]
        else:
            self._next, self._gap_end = BEYOND, 2 * BEYOND
        self._at = self.parameters.offset + self._next * BLOCK

"""Bytes that lie in a file already, on their way to another one: shared by both where the file system can, else copied.

XFS and btrfs let two files have the same blocks until one of them is changed (ioctl_ficlonerange(2)); elsewhere the
kernel copies, without a way through this process (copy_file_range(2)); and where it cannot, this process does.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from dibo.formats.target import Target

ALIGNMENT: Final = 4096
"""Files begin at multiples of this: of the blocks of file systems, which is what can be shared."""
_FICLONERANGE: Final = 0x4020940D
"""_IOW(0x94, 13, struct file_clone_range) of linux/fs.h."""
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRange:
    """Where the bytes are. Zeros follow them up to the next multiple of ALIGNMENT; they begin at one."""

    descriptor: int
    offset: int
    size: int

    def read(self) -> Iterator[bytes]:
        """All of them, in pieces. Raises OSError, EOFError."""
        at, end = self.offset, self.offset + self.size
        while at < end:
            data = os.pread(self.descriptor, min(_PIECE, end - at), at)
            if not data:
                raise EOFError(f"the file ends {end - at} bytes early")
            at += len(data)
            yield data


@runtime_checkable
class RangeTarget(Protocol):
    """A Target that takes bytes out of another file."""

    def write_range(self, offset: int, source: FileRange) -> None:
        """As `write`, of the bytes of `source`."""


def write_range(target: Target, offset: int, source: FileRange) -> None:
    """Write `source` at byte `offset` of a disk."""
    if isinstance(target, RangeTarget):
        target.write_range(offset, source)
        return
    for data in source.read():
        target.write(offset, [data])
        offset += len(data)


class RangeCopier:
    """Copies ranges into one file, in the best way that works: the first that fails is not tried again."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ways: list[Callable[[int, FileRange], None]] = [self._share, self._copy_in_kernel]

    def copy(self, offset: int, source: FileRange) -> None:
        """Raises OSError, where the file cannot be written."""
        while self._ways:
            try:
                self._ways[0](offset, source)
            except OSError:
                del self._ways[0]
            else:
                return
        for data in source.read():
            _write_all(self._descriptor, offset, data)
            offset += len(data)

    def _share(self, offset: int, source: FileRange) -> None:
        given = struct.pack("=qQQQ", source.descriptor, source.offset, source.size, offset)
        fcntl.ioctl(self._descriptor, _FICLONERANGE, given)

    def _copy_in_kernel(self, offset: int, source: FileRange) -> None:
        done = 0
        while done < source.size:
            count = os.copy_file_range(
                source.descriptor,
                self._descriptor,
                source.size - done,
                source.offset + done,
                offset + done,
            )
            if not count:
                raise EOFError(f"the file ends {source.size - done} bytes early")
            done += count


def _write_all(descriptor: int, offset: int, data: bytes) -> None:
    while data:
        count = os.pwrite(descriptor, data, offset)
        offset, data = offset + count, data[count:]

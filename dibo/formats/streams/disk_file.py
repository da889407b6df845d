"""A sparse file from front to back, in pieces of one size. What is a hole is not read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from dibo.formats.sparse import is_zero


class ByteSink(Protocol):
    """What streams are written to."""

    def write(self, data: bytes, /) -> object: ...


def pieces(file: BinaryIO, *, size: int) -> Iterator[bytes | None]:
    """All of a file, `size` bytes at a time, the last maybe shorter; None for a piece of zeros, wherever the file
    system has them as a hole or not: what is made of the pieces does not depend on it."""
    fd = file.fileno()
    end = os.fstat(fd).st_size
    data_at = -1
    for offset in range(0, end, size):
        length = min(size, end - offset)
        if data_at < offset:
            data_at = _next_data(fd, offset, end)
        if data_at >= offset + length:
            yield None
            continue
        piece = _read(fd, offset, length)
        yield None if is_zero(piece) else piece
        data_at = -1


def _next_data(fd: int, offset: int, end: int) -> int:
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole (lseek(2))
            return end
        raise


def _read(fd: int, offset: int, size: int) -> bytes:
    """What a file that was cut meanwhile lacks is zeros."""
    data = os.pread(fd, size, offset)
    while len(data) < size and (more := os.pread(fd, size - len(data), offset + len(data))):
        data += more
    return data.ljust(size, b"\0")

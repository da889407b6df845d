"""The disk as a plain sparse file: byte n of the disk is byte n of the file."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dibo.errors import OutputError
from dibo.formats.file_range import FileRange, RangeCopier
from dibo.formats.sparse import filled
from dibo.formats.target import Buffer

_SCANNED: Final = 64 * 1024
"""Bytes up to which a write is looked through for blocks of zeros: metadata comes in small pieces with many of them,
the contents of files in large ones with hardly any."""
_IOV_MAX: Final = os.sysconf("SC_IOV_MAX")
_KEEP_SIZE: Final = 0x01
_PUNCH_HOLE: Final = 0x02
"""FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE (linux/falloc.h)."""
_UNSUPPORTED: Final = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class RawFile:
    """A Target. The file at `path` is made or emptied, becomes `size` bytes of nothing, and is closed by `close` or
    at the end of `with`. Raises OutputError, here and in every method, when the file cannot be written; it calls the
    file `name` then, if it has another one for the user."""

    def __init__(self, path: Path, size: int, *, name: Path | None = None) -> None:
        self.size = size
        self._name = name or path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                os.ftruncate(self._fd, 0)
                os.ftruncate(self._fd, size)
            except BaseException:
                os.close(self._fd)
                raise
        except OSError as error:
            raise unwritable(self._name, error) from error
        self._copier = RangeCopier(self._fd)

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        """As Target says. Blocks of 4 KiB that are all zero stay holes in small writes; large ones are taken whole."""
        total = sum(map(len, buffers))
        self._check(offset, total)
        try:
            if total > _SCANNED:
                write_all(self._fd, offset, buffers)
            else:
                for start, run in _runs(offset, buffers):
                    write_all(self._fd, start, run)
        except OSError as error:
            raise unwritable(self._name, error) from error

    def write_range(self, offset: int, source: FileRange) -> None:
        """As RangeTarget says."""
        self._check(offset, source.size)
        try:
            self._copier.copy(offset, source)
        except OSError as error:
            raise unwritable(self._name, error) from error

    def discard(self, offset: int, size: int) -> None:
        """As Target says: by a hole where the file system has them, else by zeros."""
        self._check(offset, size)
        try:
            if size and not _punch(self._fd, offset, size):
                zeros = bytes(min(size, 1 << 20))
                for start in range(offset, offset + size, len(zeros)):
                    write_all(self._fd, start, [memoryview(zeros)[: offset + size - start]])
        except OSError as error:
            raise unwritable(self._name, error) from error

    def close(self) -> None:
        """Again is no error."""
        fd, self._fd = self._fd, -1
        close_written(fd, self._name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or offset + size > self.size:
            raise ValueError(f"bytes {offset} to {offset + size} are not on a disk of {self.size}")


class GrowingFile(RawFile):
    """A RawFile whose size is known only when all is written: it is as long as its last byte, until `end`."""

    def __init__(self, path: Path, *, name: Path | None = None) -> None:
        super().__init__(path, 0, name=name)

    def end(self, size: int) -> None:
        """The file gets `size` bytes, which are more than any that was written. Raises OutputError."""
        self.size = size
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            raise unwritable(self._name, error) from error

    def _check(self, offset: int, size: int) -> None:
        self.size = max(self.size, offset + size)
        super()._check(offset, size)


def write_all(fd: int, offset: int, buffers: Sequence[Buffer]) -> None:
    """pwritev(2) until everything is written: it takes at most IOV_MAX buffers and 2 GiB, and may take less."""
    at = 0
    while at < len(buffers):
        batch: list[Buffer] = list(buffers[at : at + _IOV_MAX])
        at += len(batch)
        left = sum(map(len, batch))
        while left:
            taken = os.pwritev(fd, batch, offset)
            offset += taken
            left -= taken
            if left:
                batch = _without(batch, taken)


def close_written(fd: int, name: Path) -> None:
    """Close a file, unless `fd` is negative: it is closed already. Network file systems say here that they are full;
    that is an OutputError about `name`."""
    if fd >= 0:
        try:
            os.close(fd)
        except OSError as error:
            raise unwritable(name, error) from error


def _without(buffers: Sequence[Buffer], size: int) -> list[Buffer]:
    """`buffers` but for their first `size` bytes."""
    for index, buffer in enumerate(buffers):
        if size < len(buffer):
            return [memoryview(buffer)[size:], *buffers[index + 1 :]]
        size -= len(buffer)
    return []


def _runs(offset: int, buffers: Sequence[Buffer]) -> list[tuple[int, list[Buffer]]]:
    """What is not zero, each run with its offset; neighbours across buffers are one run."""
    joined: list[tuple[int, list[Buffer]]] = []
    end = -1
    for buffer in buffers:
        for start, run in filled(offset, buffer):
            if start == end:
                joined[-1][1].append(run)
            else:
                joined.append((start, [run]))
            end = start + len(run)
        offset += len(buffer)
    return joined


def _punch(fd: int, offset: int, size: int) -> bool:
    """fallocate(2); False where the file system or the C library does not know how."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    fallocate = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if fallocate is None:
        return False
    while fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(size)):
        code = ctypes.get_errno()
        if code in _UNSUPPORTED:
            return False
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
    return True


def unwritable(name: Path, error: OSError) -> OutputError:
    """What the user hears about a disk that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        full = OutputError(
            f"cannot write {name}: the disk is full", hint="make room, or choose another place with -o"
        )
        full.full = True
        return full
    hint = ""
    if error.errno == errno.EFBIG:
        hint = "`ulimit -f` and the file system limit the size of a file: use a smaller --image-size, or another place"
    return OutputError(f"cannot write {name}: {error.strerror or error}", hint=hint)

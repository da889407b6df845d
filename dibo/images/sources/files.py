"""Files by name, in a directory or in a tar: what layouts and archives of images are made of.

Names are relative, with `/`, and come from digests that were checked or from an archive's own list. A tar is never
unpacked: its index (dibo.images.sources.tarindex) says where each member lies, and a member is read there.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

from dibo.errors import ImageError
from dibo.images.documents import LARGEST_DOCUMENT
from dibo.images.image import Reader
from dibo.images.sources.tarindex import Index

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not stop us


class Files(Protocol):
    """Files of one image. Sizes are in bytes. All methods raise ImageError for a file that cannot be read."""

    def size(self, name: str) -> int | None:
        """None when there is no such file."""

    def read(self, name: str) -> bytes:
        """All of a small file. ImageError when it has more than LARGEST_DOCUMENT bytes, or is not there."""

    def open(self, name: str) -> AbstractContextManager[Reader]: ...

    def describe(self, name: str) -> str:
        """The name of a file, for messages."""


class DirectoryFiles:
    """A directory of the host."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def describe(self, name: str) -> str:
        return str(self.path / name)

    def size(self, name: str) -> int | None:
        try:
            status = (self.path / name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(self.describe(name), error) from error
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return _small(file, description=self.describe(name))

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[Reader]:
        try:
            fd = os.open(self.path / name, _FLAGS)
        except OSError as error:
            raise _unreadable(self.describe(name), error) from error
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(f"{self.describe(name)} is not a plain file")
            yield Slice(fd, 0, status.st_size, description=self.describe(name))
        finally:
            os.close(fd)


class ArchiveFiles:
    """A tar, read through its index. `fd` stays open, and the caller's."""

    def __init__(self, fd: int, index: Index, *, path: str) -> None:
        self._fd = fd
        self._index = index
        self._path = path

    def describe(self, name: str) -> str:
        return f"{name} in {self._path}"

    def size(self, name: str) -> int | None:
        member = self._index.find(name)
        return None if member is None else member.size

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return _small(file, description=self.describe(name))

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[Reader]:
        member = self._index.find(name)
        if member is None:
            raise ImageError(f"{self._path} has no {name}")
        yield Slice(self._fd, member.offset, member.size, description=self.describe(name))


class Slice:
    """A Reader of part of a file. Has a position of its own, so several may read one file at once."""

    def __init__(self, fd: int, offset: int, size: int, *, description: str) -> None:
        self._fd = fd
        self._at = offset
        self._end = offset + size
        self._what = description

    def read(self, size: int, /) -> bytes:
        count = min(size, self._end - self._at)
        if count <= 0:
            return b""
        try:
            data = os.pread(self._fd, count, self._at)
        except OSError as error:
            raise _unreadable(self._what, error) from error
        if not data:
            raise ImageError(f"{self._what} became shorter while it was read")
        self._at += len(data)
        return data


def _small(file: Reader, *, description: str) -> bytes:
    parts = []
    left = LARGEST_DOCUMENT + 1
    while left and (data := file.read(left)):
        parts.append(data)
        left -= len(data)
    if not left:
        raise ImageError(f"{description} is larger than 4 MiB, the most that is read of a description")
    return b"".join(parts)


def _unreadable(description: str, error: OSError) -> ImageError:
    return ImageError(f"cannot read {description}: {error.strerror}")


def not_there(files: Files, name: str, *, hint: str) -> ImageError:
    """The error where an image lacks the file that describes it; `hint` is for a directory that is something else."""
    if isinstance(files, DirectoryFiles) and not files.path.exists():
        return ImageError(
            f"the directory {files.path} does not exist", hint="expected a directory with an image"
        )
    return ImageError(f"{files.describe(name)} is not there", hint=hint)

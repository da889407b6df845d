"""A tree into mounted file systems, while it is read.

The bytes of files come first, while their names are not known yet (dibo.tree.node.Contents). They are written to
numbered files of a directory in the same file system, and get their names by rename(2) when the tree is complete:

    TOP/.dibo-HEX/0, 1, 2, …   ──►   TOP/usr/bin/env, …

Ownership comes before permissions, which lose
setuid bits by it, and both before attributes, which lose capabilities by them (chown(2)); times of directories come
when nothing in them changes any more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dibo.disk.programs.mke2fs import measure, smallest
from dibo.errors import LoopError, OutputError
from dibo.formats.ext4 import NoSpace
from dibo.images.layers.tar_writer import shared
from dibo.system.loop.namespace import sync_filesystem
from dibo.tree.node import Buffer, Node
from dibo.units import MIB

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_LOST_AND_FOUND: Final = b"lost+found"
_SECOND: Final = 1_000_000_000
_MANY: Final = 512  # below IOV_MAX, 1024


class Waiting:
    """A file of one file system that has no name yet; equal to itself alone, since others have the same numbers."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __str__(self) -> str:
        return str(self.number)


class Filling:
    """Contents (dibo.tree.node) in the file system mounted at `top`, which is empty and has `size` bytes. `epoch`
    is the time of what mkfs left there, in seconds since 1970. Raises LoopError.

    A file system that is full is no error before `finish`, which has the tree to say how much is missing: from then on
    nothing is written, and `full` says so.
    """

    def __init__(self, top: Path, *, size: int, epoch: int) -> None:
        self.full = False
        self._size = size
        self._epoch = epoch
        self._name = f".dibo-{secrets.token_hex(8)}".encode()
        self._next = 0
        self._file = self._waiting = -1
        self._left = 0
        self._hole = 0
        self._pending: list[Buffer] = []
        self._top = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with self._unless_full():
                os.mkdir(self._name, 0o700, dir_fd=self._top)
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
                self._waiting = os.open(self._name, flags, dir_fd=self._top)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._end()
        for descriptor in (self._waiting, self._top):
            if descriptor >= 0:
                os.close(descriptor)
        self._waiting = self._top = -1

    # Contents

    def begin(self, size: int) -> Waiting:
        self.flush()
        self._end()
        waiting = Waiting(self._next)
        self._next += 1
        self._left = size
        if not self.full:
            with self._unless_full():
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._file = os.open(str(waiting), flags, 0o600, dir_fd=self._waiting)
        return waiting

    def write(self, data: Buffer) -> None:
        self._left -= len(data)
        if self._file >= 0:
            self._pending.append(data)
            if len(self._pending) >= _MANY:
                self.flush()

    def skip(self, size: int) -> None:
        self.flush()
        self._left -= size
        if self._file >= 0:
            os.lseek(self._file, size, os.SEEK_CUR)
            self._hole = size

    def flush(self) -> None:
        pending, self._pending = self._pending, []
        if self._file < 0:
            return
        with self._unless_full():
            while pending:
                self._hole = 0
                count = os.writev(self._file, pending)
                while pending and count >= len(pending[0]):
                    count -= len(pending.pop(0))
                if count:
                    pending[0] = memoryview(pending[0])[count:]

    def release(self, content: object) -> None:
        if self._waiting < 0:
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(str(content), dir_fd=self._waiting)

    def _end(self) -> None:
        if self._file < 0:
            return
        with self._unless_full():
            if self._hole:  # a hole at the end is no file's end yet
                os.ftruncate(self._file, os.lseek(self._file, 0, os.SEEK_CUR))
        file, self._file, self._hole = self._file, -1, 0
        os.close(file)

    @contextlib.contextmanager
    def _unless_full(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise LoopError(f"cannot write to the mounted file system: {error.strerror}") from error
            self.full = True
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    # The tree

    def finish(self, root: Node) -> None:
        """Give everything its name and its attributes, and have it on the disk. Raises ext4.NoSpace where the file
        system is full, whatever it is; LoopError; and OutputError where what is below it is full."""
        self.flush()
        self._end()
        if not self.full:
            with self._unless_full():
                self._grow(root)
                os.rmdir(self._name, dir_fd=self._top)
                if _LOST_AND_FOUND not in (root.children or {}):  # then it is mkfs's
                    with contextlib.suppress(FileNotFoundError):
                        times = (self._epoch * _SECOND, self._epoch * _SECOND)
                        os.utime(_LOST_AND_FOUND, ns=times, dir_fd=self._top)
                self._describe(root, b".")
        if self.full:
            raise NoSpace(self._missing(root))
        try:
            sync_filesystem(self._top)
        except OSError as error:
            raise OutputError(
                f"cannot write the disk: {error.strerror}",
                hint="most likely there is no room left where the image goes: make some, or choose another "
                "place with -o",
            ) from error

    def _missing(self, root: Node) -> int:
        """An estimate, from what ext4 would need: what the other file systems take is known only afterwards."""
        size = self._size
        return max(MIB, smallest(measure(root), at_least=size + MIB) * 11 // 10 - size)

    def _grow(self, root: Node) -> None:
        names: dict[Node, bytes] = {}
        several = shared(root)
        todo: list[tuple[bytes, Node, bool]] = [(b"", root, False)]
        while todo:
            path, node, done = todo.pop()
            if done:
                self._describe(node, path)
                continue
            for name, child in (node.children or {}).items():
                below = path + b"/" + name if path else name
                if child.children is not None:
                    with contextlib.suppress(FileExistsError):  # a mount point, lost+found
                        os.mkdir(below, 0o700, dir_fd=self._top)
                    todo += [(below, child, True), (below, child, False)]
                elif child in names:
                    os.link(
                        names[child], below, src_dir_fd=self._top, dst_dir_fd=self._top, follow_symlinks=False
                    )
                else:
                    self._make(child, below)
                    self._describe(child, below)
                    if child in several:
                        names[child] = below

    def _make(self, node: Node, path: bytes) -> None:
        kind = stat.S_IFMT(node.mode)
        if kind == stat.S_IFLNK:
            os.symlink(node.target, path, dir_fd=self._top)
        elif kind != stat.S_IFREG:
            os.mknod(path, kind | 0o600, os.makedev(*node.device), dir_fd=self._top)
        elif node.content is None:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._top))
        else:
            os.rename(str(node.content), path, src_dir_fd=self._waiting, dst_dir_fd=self._top)

    def _describe(self, node: Node, path: bytes) -> None:
        os.chown(path, node.uid, node.gid, dir_fd=self._top, follow_symlinks=False)
        if not stat.S_ISLNK(node.mode):
            os.chmod(path, stat.S_IMODE(node.mode), dir_fd=self._top)
        for name, value in (node.xattrs or {}).items():
            self._set(path, name, value)
        os.utime(path, ns=(node.mtime, node.mtime), dir_fd=self._top, follow_symlinks=False)

    def _set(self, path: bytes, name: bytes, value: bytes) -> None:
        place = b"/proc/self/fd/%d/%b" % (self._top, path)
        try:
            os.setxattr(place, name, value, follow_symlinks=False)
        except OSError as error:
            if error.errno in _FULL:
                raise
            raise LoopError(
                f"{_shown(path)} cannot have the attribute {name.decode(errors='replace')}: {error.strerror}",
                hint="the file system of the layout, or this machine's kernel, has no such attributes",
            ) from error


def data_of(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Where the data of an open file lies between its holes: start and end (lseek(2))."""
    at = 0
    while at < size:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        at = min(size, os.lseek(file, start, os.SEEK_HOLE))
        yield start, at


def _shown(path: bytes) -> str:
    return "/" + path.decode(errors="backslashreplace")

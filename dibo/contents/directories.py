"""A directory of this machine as a tree. No symbolic link in it is followed, and no other file system entered."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from dibo.contents.disks import digests_of
from dibo.contents.kept_files import MOST_BYTES, is_read
from dibo.contents.tree_source import TreeSource
from dibo.errors import ImageError
from dibo.tree.node import Node

_MOST_ENTRIES: Final = 2_000_000
_PIECE: Final = 1 << 20
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def read_directory(path: Path) -> TreeSource:
    """Raises ImageError where the directory itself cannot be read; what cannot be read in it is a note."""
    reading = _Reading(path)
    return TreeSource(
        name=str(path),
        form="directory",
        format="directory",
        root=reading.root,
        digests=_digests,
        content=_bytes_of,
        notes=tuple(reading.notes),
    )


class _Reading:
    def __init__(self, path: Path) -> None:
        self.notes: list[str] = []
        self._inodes: dict[tuple[int, int], Node] = {}
        self._left = _MOST_ENTRIES
        top = os.fsencode(path)
        try:
            status = path.stat()
            os.scandir(top).close()
        except OSError as error:
            raise ImageError(f"cannot read {path}: {error.strerror}") from error
        self._device = status.st_dev
        self.root = self._node(top, b"", status)
        todo = [(top, b"", self.root)]
        while todo:
            place, prefix, directory = todo.pop()
            todo += self._read(place, prefix, directory)

    def _read(self, place: bytes, prefix: bytes, directory: Node) -> Iterator[tuple[bytes, bytes, Node]]:
        assert directory.children is not None
        try:
            with os.scandir(place) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError as error:
            self._note(prefix, error)
            return
        for name in names:
            self._left -= 1
            if self._left < 0:
                raise ImageError(f"the directory has more than {_MOST_ENTRIES} files")
            full, path = place + b"/" + name, prefix + name
            try:
                status = os.lstat(full)
            except OSError as error:
                self._note(path, error)
                continue
            node = self._node(full, path, status)
            directory.children[name] = node
            if node.children is not None and status.st_dev == self._device:
                yield full, path + b"/", node

    def _node(self, full: bytes, path: bytes, status: os.stat_result) -> Node:
        identity = (status.st_dev, status.st_ino)
        known = self._inodes.get(identity)
        if known is not None:
            return known
        node = Node(status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            self._inodes[identity] = node
        if stat.S_ISREG(status.st_mode):
            node.size, node.content = status.st_size, full
            if is_read(path):
                self._keep(node, path)
        elif stat.S_ISLNK(status.st_mode):
            node.target = os.readlink(full)  # noqa: PTH115 (of bytes)
            node.size = len(node.target)
        elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            node.device = (os.major(status.st_rdev), os.minor(status.st_rdev))
        node.xattrs = _xattrs(full)
        return node

    def _keep(self, node: Node, path: bytes) -> None:
        if node.size > MOST_BYTES:
            self.notes.append(
                f"/{path.decode(errors='backslashreplace')} is not read: it has {node.size} bytes"
            )
            return
        try:
            node.data = b"".join(_bytes_of(node))
        except OSError as error:
            self._note(path, error)

    def _note(self, path: bytes, error: OSError) -> None:
        self.notes.append(f"/{path.decode(errors='backslashreplace')} is not read: {error.strerror}")


def _xattrs(full: bytes) -> dict[bytes, bytes] | None:
    try:
        names = os.listxattr(full, follow_symlinks=False)
        return {os.fsencode(name): os.getxattr(full, name, follow_symlinks=False) for name in names} or None
    except OSError:
        return None


def _bytes_of(node: Node) -> Iterator[bytes]:
    assert isinstance(node.content, bytes)
    descriptor = os.open(node.content, _FLAGS)
    try:
        left = node.size
        while left and (piece := os.read(descriptor, min(left, _PIECE))):
            left -= len(piece)
            yield piece
    finally:
        os.close(descriptor)


def _digests(nodes: Mapping[bytes, Node]) -> Mapping[bytes, str]:
    return digests_of(nodes, _bytes_of)

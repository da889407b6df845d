"""A file tree in memory: what layers are flattened into, and what file systems and archives are written from.

A tree holds names and attributes; the bytes of its files are somewhere else already (`Contents`), since they stream by
once and are put in their place as they come. A hard link is one Node under two names.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import Final, Protocol

from dibo.formats.file_range import FileRange
from dibo.formats.target import Buffer as Buffer

TYPE_NAMES: Final = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
}


class Node:
    """One inode. Mutable while its tree grows; there are millions, so it has slots and no dataclass around it."""

    __slots__ = (
        "children",
        "content",
        "data",
        "device",
        "gid",
        "mode",
        "mtime",
        "size",
        "target",
        "uid",
        "xattrs",
    )

    def __init__(self, mode: int, uid: int = 0, gid: int = 0, mtime: int = 0) -> None:
        self.mode = mode
        """As in st_mode: type and permissions (inode(7))."""
        self.uid = uid
        self.gid = gid
        self.mtime = mtime
        """Nanoseconds since 1970; may be negative."""
        self.xattrs: dict[bytes, bytes] | None = None
        """Full names (`security.capability`) and values as getxattr(2) gives them."""
        self.device: tuple[int, int] = (0, 0)
        """Major and minor, of device nodes."""
        self.target = b""
        """Of symbolic links."""
        self.content: object | None = None
        """Of files: what `Contents.begin` gave, which only it understands. None is empty."""
        self.size = 0
        """Bytes of a file, with its holes."""
        self.data: bytes | None = None
        """Of the few files that the loader of a tree reads itself."""
        self.children: dict[bytes, Node] | None = {} if stat.S_ISDIR(mode) else None
        """Of directories, by name."""

    @property
    def is_directory(self) -> bool:
        return self.children is not None


class Contents(Protocol):
    """Where the bytes of files go while a tree is read. One file at a time, in the order of the stream."""

    def begin(self, size: int) -> object:
        """A file of `size` bytes begins: exactly so many are written and skipped before the next one. What is
        returned stands for it. A file that is not finished is given up by the next `begin`."""

    def write(self, data: Buffer) -> None:
        """The next bytes. `data` may be kept until `flush`."""

    def skip(self, size: int) -> None:
        """The next `size` bytes are a hole."""

    def flush(self) -> None:
        """Buffers handed to `write` may change after this."""

    def release(self, content: object) -> None:
        """The file is in no tree after all: its space is free, and reads as zeros, again."""


def write_range(contents: Contents, source: FileRange) -> None:
    """All bytes of the file that has begun, out of another file. No 64 KiB of them, at a multiple of 64 KiB, are zeros.
    Contents that take a range have a method `write_range` for it; others get the bytes."""
    take: Callable[[FileRange], None] | None = getattr(contents, "write_range", None)
    if take is not None:
        take(source)
        return
    for data in source.read():
        contents.write(data)

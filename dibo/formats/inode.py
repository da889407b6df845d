"""What writers of file systems need to know of a tree: a protocol, so they depend on no classes of their callers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class InodeNode(Protocol):
    """One inode. A node that is reached by several names is a hard link; a directory has one name."""

    @property
    def mode(self) -> int:
        """As in st_mode: type and permissions (inode(7))."""

    @property
    def uid(self) -> int: ...

    @property
    def gid(self) -> int: ...

    @property
    def mtime(self) -> int:
        """Nanoseconds since 1970; may be negative. All times of the inode are this one."""

    @property
    def xattrs(self) -> Mapping[bytes, bytes] | None:
        """Full names and values as getxattr(2) gives them."""

    @property
    def device(self) -> tuple[int, int]:
        """Major and minor, of device nodes."""

    @property
    def target(self) -> bytes:
        """Of symbolic links."""

    @property
    def content(self) -> object | None:
        """Of files: what `begin` of the writer gave. None: the file is empty."""

    @property
    def children(self) -> Mapping[bytes, InodeNode] | None:
        """Of directories, by name; None for all else."""

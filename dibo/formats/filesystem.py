"""What readers of file systems have in common, and how a path leads to a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from dibo.errors import DiskImageError
from dibo.formats import paths


class Kind(Enum):
    FILE = "file"
    DIRECTORY = "directory"
    LINK = "symbolic link"
    OTHER = "something else"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file or directory. `handle` is for its file system alone; `size` is what it claims, in bytes."""

    kind: Kind
    size: int
    handle: object
    attributes: tuple[int, ...] = ()
    """Where the file system has them: mode, owner, group, mtime in seconds since 1970."""
    identity: int = 0
    """Where the file system has it: the number of the inode, which hard links share."""


class FileSystem(Protocol):
    """Every method raises DiskImageError for what is damaged or not understood."""

    @property
    def root(self) -> FileEntry: ...

    def names(self, directory: FileEntry) -> tuple[bytes, ...]:
        """Sorted, without `.` and `..`."""

    def lookup(self, directory: FileEntry, name: bytes) -> FileEntry | None: ...

    def target(self, link: FileEntry) -> bytes: ...

    def content(self, file: FileEntry) -> Iterator[bytes]:
        """All bytes, a piece at a time; holes are zeros."""


class InodeFileSystem(FileSystem, Protocol):
    """One that has inodes, with all that Linux keeps in them."""

    def inode(self, identity: int) -> FileEntry:
        """The entry with this `FileEntry.identity`."""

    def xattrs(self, entry: FileEntry) -> dict[bytes, bytes]:
        """Full names, and values as getxattr(2) gives them."""

    def device(self, entry: FileEntry) -> tuple[int, int]:
        """Major and minor of a device node."""


def find(system: FileSystem, path: str | bytes) -> FileEntry | None:
    """What lies at `path`, symbolic links followed as a chroot would; None where nothing does."""

    def lookup(trail: paths.Trail[FileEntry], name: bytes) -> FileEntry | bytes | None:
        directory = trail[-1][1]
        child = system.lookup(directory, name) if directory.kind is Kind.DIRECTORY else None
        return system.target(child) if child is not None and child.kind is Kind.LINK else child

    return paths.find(system.root, path, lookup)


def names_in(system: FileSystem, path: str) -> tuple[bytes, ...]:
    """What the directory at `path` holds, sorted; nothing where it is none."""
    entry = find(system, path)
    return system.names(entry) if entry is not None and entry.kind is Kind.DIRECTORY else ()


def read_text(system: FileSystem, path: str, *, limit: int) -> str | None:
    """A small text file; None where there is none, or one of more than `limit` bytes."""
    entry = find(system, path)
    if entry is None or entry.kind is not Kind.FILE or entry.size > limit:
        return None
    return b"".join(system.content(entry)).decode(errors="replace")


def whole(system: FileSystem, entry: FileEntry, *, limit: int, description: str) -> bytes:
    """All bytes of something that is kept in memory. Raises DiskImageError beyond `limit`."""
    if entry.size > limit:
        raise DiskImageError(
            f"{description} claims to have {entry.size} bytes; more than {limit} are not believed"
        )
    return b"".join(system.content(entry))

"""A file tree as the kernel shows it, as values that can be compared: what conversions are judged by.

As a program (WALK) it walks one directory and writes what it saw to standard output, so that a mount may live in the
mount namespace of that process and die with it.

Contents are compared by a digest over the blocks of 4 KiB that are not all zeros, each with its number: the same bytes
give the same digest, and holes cost nothing (lseek(2), SEEK_DATA).
"""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = 4096
_READ = 1 << 20
_ZEROS = bytes(BLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a name in a tree leads to. `links` are all names of a file that has several, or none."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int = 0
    content: str = ""
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, bytes], ...] = ()
    links: tuple[bytes, ...] = ()
    allocated: int = 0
    """Bytes on the disk; not compared."""


Tree = dict[bytes, Entry]
"""By path, without a leading slash; the root is empty."""

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
}


def walk(root: Path) -> Tree:
    """All that is at and below `root`; needs the right to read it."""
    groups: dict[int, list[bytes]] = {}
    found: dict[bytes, tuple[Entry, int]] = {}
    for name, path in _paths(os.fsencode(root)):
        status = os.lstat(path)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            groups.setdefault(status.st_ino, []).append(name)
        found[name] = _entry(path, status), status.st_ino
    links = {number: tuple(sorted(names)) for number, names in groups.items()}
    return {
        name: entry if number not in links else _linked(entry, links[number])
        for name, (entry, number) in found.items()
    }


def _linked(entry: Entry, links: tuple[bytes, ...]) -> Entry:
    from dataclasses import replace

    return replace(entry, links=links)


def _paths(root: bytes) -> Iterator[tuple[bytes, bytes]]:
    yield b"", root
    waiting = [b""]
    while waiting:
        directory = waiting.pop()
        with os.scandir(root + b"/" + directory) as found:
            for each in found:
                name = directory + b"/" + each.name if directory else each.name
                yield name, each.path
                if each.is_dir(follow_symlinks=False):
                    waiting.append(name)


def _entry(path: bytes, status: os.stat_result) -> Entry:
    kind = stat.S_IFMT(status.st_mode)
    regular, node = kind == stat.S_IFREG, kind in (stat.S_IFCHR, stat.S_IFBLK)
    return Entry(
        kind=_KINDS[kind],
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime=status.st_mtime_ns,
        size=status.st_size if regular else 0,
        content=_digest(path) if regular and status.st_size else "",
        target=os.readlink(path) if kind == stat.S_IFLNK else b"",  # noqa: PTH115
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if node else (0, 0),
        xattrs=tuple(sorted(_xattrs(path))),
        allocated=status.st_blocks * 512,
    )


def _xattrs(path: bytes) -> Iterator[tuple[str, bytes]]:
    for name in os.listxattr(path, follow_symlinks=False):
        yield name, os.getxattr(path, name, follow_symlinks=False)


def _digest(path: bytes) -> str:
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        for start, end in _data(descriptor):
            for offset in range(start, end, _READ):
                data = os.pread(descriptor, min(_READ, end - offset), offset)
                for inside in range(0, len(data), BLOCK):
                    block = data[inside : inside + BLOCK]
                    if block != _ZEROS[: len(block)]:
                        digest.update((offset + inside).to_bytes(8, "little"))
                        digest.update(block)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def _data(descriptor: int) -> Iterator[tuple[int, int]]:
    """Ranges that are no holes, from one block's start to another's."""
    size, offset = os.fstat(descriptor).st_size, 0
    while offset < size:
        try:
            start = os.lseek(descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            raise
        start -= start % BLOCK
        end = os.lseek(descriptor, max(start, offset), os.SEEK_HOLE)
        offset = min(size, -(-end // BLOCK) * BLOCK)
        yield start, offset


WALK = "import tests.support.images.tree_entries as entries; entries.main()"
"""The program, for `python -c`."""


def main() -> None:
    pickle.dump(walk(Path(sys.argv[1])), sys.stdout.buffer)

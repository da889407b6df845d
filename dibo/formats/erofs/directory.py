"""Directories (Documentation/filesystems/erofs.rst, "Directories").

Blocks of entries, behind which their names are. Names are sorted as bytes over the whole directory, "." and ".." among
them. The offset of a block's first name says how many entries it has. A name ends where the next begins, the last of a
block at the first zero or at the end of the directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dibo.formats.erofs.errors import ErofsError
from dibo.formats.erofs.structures import BLOCK, ENTRY

Entry = tuple[bytes, int, int]
"""Name, node number, type."""


def sorted_names(children: Iterable[bytes]) -> list[bytes]:
    """Of a directory with these. Raises ErofsError."""
    names = [b".", b"..", *children]
    for name in names[2:]:
        if not name or len(name) > 255 or name in (b".", b"..") or b"/" in name or b"\0" in name:
            shown = name[:60].decode(errors="backslashreplace")
            raise ErofsError(f"{shown!r} ({len(name)} bytes) cannot be the name of a file")
    return sorted(names)


def directory_size(names: Sequence[bytes]) -> int:
    """Bytes of a directory with these names, sorted."""
    size = room = 0
    for name in names:
        length = ENTRY.size + len(name)
        if length > room:
            size += room
            room = BLOCK
        room -= length
        size += length
    return size


def blocks(names: Sequence[bytes], entries: Mapping[bytes, tuple[int, int]]) -> Iterator[bytes]:
    """The blocks, all of 4096 bytes but the last. `entries` has node number and type by name."""
    group: list[bytes] = []
    length = 0
    for name in names:
        if length + ENTRY.size + len(name) > BLOCK:
            yield _block(group, entries).ljust(BLOCK, b"\0")
            group, length = [], 0
        group.append(name)
        length += ENTRY.size + len(name)
    yield _block(group, entries)


def _block(names: Sequence[bytes], entries: Mapping[bytes, tuple[int, int]]) -> bytes:
    offset = len(names) * ENTRY.size
    parts: list[bytes] = []
    for name in names:
        number, kind = entries[name]
        parts.append(ENTRY.pack(number, offset, kind))
        offset += len(name)
    return b"".join([*parts, *names])

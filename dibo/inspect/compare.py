"""Where two disk images differ: by the files in them, one by one, and else by the first byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.errors import DiskImageError
from dibo.formats.filesystem import FileEntry, FileSystem, Kind
from dibo.formats.source import Source
from dibo.inspect.volumes import Volume, volumes

_CHUNK: Final = 1 << 20
_ATTRIBUTES: Final = ("mode", "owner", "group", "time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One file that is not the same in both. `one` and `other` are what it is there, or None."""

    volume: str
    path: bytes
    what: str
    one: tuple[FileSystem, FileEntry] | None = None
    other: tuple[FileSystem, FileEntry] | None = None

    def __str__(self) -> str:
        return f"{self.volume}: /{self.path.decode(errors='backslashreplace')}: {self.what}"


def differences(one: Source, other: Source) -> Iterator[Difference]:
    """Files that differ between two disks, or are on one alone, in the order of their paths. Raises DiskImageError."""
    mine, theirs = volumes(one), volumes(other)
    for first, second in zip(mine, theirs, strict=False):
        if first.system is not None and second.system is not None:
            yield from _walk(first.name, first.system, second.system)
        elif str(first) != str(second):
            yield Difference(volume=first.name, path=b"", what=f"{first} and {second}")
    for volume in (*mine[len(theirs) :], *theirs[len(mine) :]):
        yield Difference(volume=volume.name, path=b"", what="is on one disk alone")


def identifiers(one: Source, other: Source) -> list[str]:
    """Volumes whose label or UUID differ. Raises DiskImageError."""

    def said(volume: Volume) -> str:
        return f"{volume.kind} {volume.label!r} {volume.uuid}"

    pairs = zip(volumes(one), volumes(other), strict=False)
    return [f"{a.name}: {said(a)} and {said(b)}" for a, b in pairs if said(a) != said(b)]


def _walk(volume: str, one: FileSystem, other: FileSystem) -> Iterator[Difference]:
    todo: list[tuple[bytes, FileEntry, FileEntry]] = [(b"", one.root, other.root)]
    while todo:
        path, mine, theirs = todo.pop()
        yield from _pair(volume, path, (one, mine), (other, theirs))
        if mine.kind is not Kind.DIRECTORY or theirs.kind is not Kind.DIRECTORY:
            continue
        below = path + b"/" if path else b""
        further = []
        for name in sorted({*one.names(mine), *other.names(theirs)}):
            first, second = one.lookup(mine, name), other.lookup(theirs, name)
            if first is not None and second is not None:
                further.append((below + name, first, second))
            elif first is not None:
                yield Difference(volume=volume, path=below + name, what="is gone", one=(one, first))
            elif second is not None:
                yield Difference(volume=volume, path=below + name, what="is new", other=(other, second))
        todo += reversed(further)


def _pair(
    volume: str, path: bytes, one: tuple[FileSystem, FileEntry], other: tuple[FileSystem, FileEntry]
) -> Iterator[Difference]:
    (system, mine), (another, theirs) = one, other
    said = []
    if mine.kind is not theirs.kind:
        said.append(f"{mine.kind.value} and {theirs.kind.value}")
    elif mine.kind is Kind.FILE and not _same_bytes(system.content(mine), another.content(theirs)):
        said.append("other bytes" if mine.size == theirs.size else f"{mine.size} and {theirs.size} bytes")
    elif mine.kind is Kind.LINK and system.target(mine) != another.target(theirs):
        said.append("another target")
    said += [
        name
        for name, a, b in zip(_ATTRIBUTES, mine.attributes, theirs.attributes, strict=False)
        if a != b and mine.kind is theirs.kind
    ]
    if said:
        yield Difference(volume=volume, path=path, what=", ".join(said), one=one, other=other)


def _same_bytes(one: Iterator[bytes], other: Iterator[bytes]) -> bool:
    """Pieces of the two need not be cut alike."""
    mine, theirs = b"", b""
    while True:
        if not mine:
            mine = next((piece for piece in one if piece), b"")
        if not theirs:
            theirs = next((piece for piece in other if piece), b"")
        length = min(len(mine), len(theirs))
        if mine[:length] != theirs[:length]:
            return False
        if not length:
            return len(mine) == len(theirs)
        mine, theirs = mine[length:], theirs[length:]


def first_difference(one: Path, other: Path) -> int | None:
    """The offset of the first byte that differs, or where the shorter file ends; None where there is none."""
    at = 0
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            mine, theirs = first.read(_CHUNK), second.read(_CHUNK)
            if mine != theirs:
                pairs = enumerate(zip(mine, theirs, strict=False))
                return at + next((n for n, (a, b) in pairs if a != b), min(len(mine), len(theirs)))
            if not mine:
                return None
            at += len(mine)


def extract(found: tuple[FileSystem, FileEntry], target: Path, *, most: int) -> bool:
    """Write a file's bytes to `target`; whether it was one, of at most `most` bytes, that can be read."""
    system, entry = found
    if entry.kind is not Kind.FILE or entry.size > most:
        return False
    try:
        with target.open("wb") as file:
            for piece in system.content(entry):
                file.write(piece)
    except DiskImageError:
        return False
    return True

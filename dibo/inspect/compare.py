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
    """One file that is not the same in both. `expected` and `actual` are its entries, None where it is missing."""

    volume: str
    path: bytes
    change: str
    expected: tuple[FileSystem, FileEntry] | None = None
    actual: tuple[FileSystem, FileEntry] | None = None

    def __str__(self) -> str:
        return f"{self.volume}: /{self.path.decode(errors='backslashreplace')}: {self.change}"


def differences(expected: Source, actual: Source) -> Iterator[Difference]:
    """Files that differ between two disks, or are on one alone, in the order of their paths. Raises DiskImageError."""
    expected_volumes, actual_volumes = volumes(expected), volumes(actual)
    for first, second in zip(expected_volumes, actual_volumes, strict=False):
        if first.system is not None and second.system is not None:
            yield from _walk(first.name, first.system, second.system)
        elif str(first) != str(second):
            yield Difference(volume=first.name, path=b"", change=f"{first} and {second}")
    for volume in (*expected_volumes[len(actual_volumes) :], *actual_volumes[len(expected_volumes) :]):
        yield Difference(volume=volume.name, path=b"", change="is on one disk alone")


def identifiers(expected: Source, actual: Source) -> list[str]:
    """Volumes whose label or UUID differ. Raises DiskImageError."""

    def identifier(volume: Volume) -> str:
        return f"{volume.kind} {volume.label!r} {volume.uuid}"

    pairs = zip(volumes(expected), volumes(actual), strict=False)
    return [
        f"{a.name}: {identifier(a)} and {identifier(b)}" for a, b in pairs if identifier(a) != identifier(b)
    ]


def _walk(volume: str, expected: FileSystem, actual: FileSystem) -> Iterator[Difference]:
    todo: list[tuple[bytes, FileEntry, FileEntry]] = [(b"", expected.root, actual.root)]
    while todo:
        path, expected_entry, actual_entry = todo.pop()
        yield from _pair(volume, path, (expected, expected_entry), (actual, actual_entry))
        if expected_entry.kind is not Kind.DIRECTORY or actual_entry.kind is not Kind.DIRECTORY:
            continue
        below = path + b"/" if path else b""
        further = []
        for name in sorted({*expected.names(expected_entry), *actual.names(actual_entry)}):
            first, second = expected.lookup(expected_entry, name), actual.lookup(actual_entry, name)
            if first is not None and second is not None:
                further.append((below + name, first, second))
            elif first is not None:
                yield Difference(
                    volume=volume, path=below + name, change="is gone", expected=(expected, first)
                )
            elif second is not None:
                yield Difference(volume=volume, path=below + name, change="is new", actual=(actual, second))
        todo += reversed(further)


def _pair(
    volume: str, path: bytes, expected: tuple[FileSystem, FileEntry], actual: tuple[FileSystem, FileEntry]
) -> Iterator[Difference]:
    (expected_system, expected_entry), (actual_system, actual_entry) = expected, actual
    changes = []
    if expected_entry.kind is not actual_entry.kind:
        changes.append(f"{expected_entry.kind.value} and {actual_entry.kind.value}")
    elif expected_entry.kind is Kind.FILE and not _same_bytes(
        expected_system.content(expected_entry), actual_system.content(actual_entry)
    ):
        changes.append(
            "other bytes"
            if expected_entry.size == actual_entry.size
            else f"{expected_entry.size} and {actual_entry.size} bytes"
        )
    elif expected_entry.kind is Kind.LINK and expected_system.target(expected_entry) != actual_system.target(
        actual_entry
    ):
        changes.append("another target")
    changes += [
        name
        for name, a, b in zip(_ATTRIBUTES, expected_entry.attributes, actual_entry.attributes, strict=False)
        if a != b and expected_entry.kind is actual_entry.kind
    ]
    if changes:
        yield Difference(
            volume=volume, path=path, change=", ".join(changes), expected=expected, actual=actual
        )


def _same_bytes(expected: Iterator[bytes], actual: Iterator[bytes]) -> bool:
    """Pieces of the two need not be cut alike."""
    expected_bytes, actual_bytes = b"", b""
    while True:
        if not expected_bytes:
            expected_bytes = next((piece for piece in expected if piece), b"")
        if not actual_bytes:
            actual_bytes = next((piece for piece in actual if piece), b"")
        length = min(len(expected_bytes), len(actual_bytes))
        if expected_bytes[:length] != actual_bytes[:length]:
            return False
        if not length:
            return len(expected_bytes) == len(actual_bytes)
        expected_bytes, actual_bytes = expected_bytes[length:], actual_bytes[length:]


def first_difference(expected: Path, actual: Path) -> int | None:
    """The offset of the first byte that differs, or where the shorter file ends; None where there is none."""
    at = 0
    with expected.open("rb") as first, actual.open("rb") as second:
        while True:
            expected_bytes, actual_bytes = first.read(_CHUNK), second.read(_CHUNK)
            if expected_bytes != actual_bytes:
                pairs = enumerate(zip(expected_bytes, actual_bytes, strict=False))
                return at + next(
                    (n for n, (a, b) in pairs if a != b), min(len(expected_bytes), len(actual_bytes))
                )
            if not expected_bytes:
                return None
            at += len(expected_bytes)


def extract(located: tuple[FileSystem, FileEntry], target: Path, *, most: int) -> bool:
    """Write a file's bytes to `target`; whether it was one, of at most `most` bytes, that can be read."""
    system, entry = located
    if entry.kind is not Kind.FILE or entry.size > most:
        return False
    try:
        with target.open("wb") as file:
            for piece in system.content(entry):
                file.write(piece)
    except DiskImageError:
        return False
    return True

"""Where two disk images differ as a whole: the first byte, and what their file systems are called.

Files are compared by dibo.contents.compare.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dibo.formats.source import Source
from dibo.inspect.volumes import Volume, volumes

_CHUNK: Final = 1 << 20


def identifiers(expected: Source, actual: Source) -> list[str]:
    """Volumes whose label or UUID differ. Raises DiskImageError."""

    def identifier(volume: Volume) -> str:
        return f"{volume.kind} {volume.label!r} {volume.uuid}"

    pairs = zip(volumes(expected), volumes(actual), strict=False)
    return [
        f"{a.name}: {identifier(a)} and {identifier(b)}" for a, b in pairs if identifier(a) != identifier(b)
    ]


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

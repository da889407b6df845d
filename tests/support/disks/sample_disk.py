"""A sparse disk for formats of disks: data at odd places, holes, and zeros that are written."""

from __future__ import annotations

import random
from pathlib import Path

from dibo.units import MIB


def sample_disk(path: Path, *, size: int = 12 * MIB) -> bytes:
    """Write a raw disk of `size` bytes to `path`; its bytes."""
    chance = random.Random(7)
    with path.open("wb") as file:
        file.truncate(size)
        for offset in (0, 70_000, 3 * MIB - 5, 5 * MIB + 512, 9 * MIB):
            file.seek(offset)
            file.write(chance.randbytes(3000) + b"text " * 9000)
        file.seek(7 * MIB)
        file.write(bytes(MIB))
        file.seek(size - 512)
        file.write(b"end!" * 128)
    return path.read_bytes()

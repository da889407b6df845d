"""Layers that were read once, kept for builds to come: they are neither read out of a store nor checked again.

    ~/.cache/dibo/unpacked/BOOT-FORMAT-DIGEST     as dibo.images.layers.unpacked writes it; its time: the last use

The bytes of a layer are checked while they are written, so a file counts only until the machine starts anew: what a
crash left half on the disk is of another boot. FORMAT stands for whatever decides how such a file is read. All together
take at most `most` bytes; beyond them goes what was not used for the longest time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import dibo
from dibo.images.layers import unpacked
from dibo.images.layers.unpacked import UnpackedContent, open_unpacked

MOST: Final = 4 << 30
"""Bytes of all layers that are kept."""
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_identity() -> str:
    """Another one each time that the machine starts (random(4)); empty where that is not known."""
    try:
        return _BOOT.read_text().strip().replace("-", "")
    except OSError:
        return ""


class KeptLayers:
    """Those in `directory`, which belongs to the user alone. What cannot be kept or read only costs time."""

    def __init__(self, directory: Path, *, boot: str, most: int = MOST) -> None:
        """`boot` is what `boot_identity` gives; nothing is kept if that is empty."""
        self._directory, self._boot, self.most = directory, boot, most

    def open(self, diff_id: str) -> UnpackedContent | None:
        """What was read of the layer, if that is here. The caller closes the descriptor."""
        path = self._path(diff_id)
        if not self._boot or not path.is_file():
            return None
        try:
            content = open_unpacked(path)
            os.utime(path)
        except (OSError, EOFError, ValueError, TypeError, struct.error):
            return None
        return content

    def take(self, diff_id: str, path: Path) -> None:
        """Keep the file at `path`, which is on the same file system; it goes, or gets another name."""
        with contextlib.suppress(OSError):
            if self._boot:
                self._directory.mkdir(mode=0o700, exist_ok=True)
                path.replace(self._path(diff_id))
                self._limit()

    def _path(self, diff_id: str) -> Path:
        reader = f"{unpacked.FORMAT} {dibo.__version__} {sys.version}"
        name = hashlib.sha256(reader.encode()).hexdigest()[:16]
        return self._directory / f"{self._boot}-{name}-{diff_id.partition(':')[2]}"

    def _limit(self) -> None:
        """Remove files of other boots, and those that are too many."""
        left = self.most
        for path, size in self._newest_first():
            left -= size
            if left < 0 or not path.name.startswith(f"{self._boot}-"):
                path.unlink(missing_ok=True)

    def _newest_first(self) -> Iterator[tuple[Path, int]]:
        states = [(path, path.stat()) for path in self._directory.iterdir()]
        for path, state in sorted(states, key=lambda entry: entry[1].st_mtime_ns, reverse=True):
            yield path, state.st_size

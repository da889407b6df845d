"""Several disks that are written at once, alike."""

from __future__ import annotations

from collections.abc import Sequence

from dibo.formats.file_range import FileRange, write_range
from dibo.formats.target import Buffer, Target


class Tee:
    """A Target that hands everything to each of `targets`, in their order."""

    def __init__(self, *targets: Target) -> None:
        self._targets = targets

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        for target in self._targets:
            target.write(offset, buffers)

    def write_range(self, offset: int, source: FileRange) -> None:
        for target in self._targets:
            write_range(target, offset, source)

    def discard(self, offset: int, size: int) -> None:
        for target in self._targets:
            target.discard(offset, size)

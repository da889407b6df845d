"""Several disks that are written at once, alike."""

from __future__ import annotations

from collections.abc import Sequence

from dibo.formats.target import Buffer, Target


class Tee:
    """A Target that hands everything to each of `targets`, in their order."""

    def __init__(self, *targets: Target) -> None:
        self._targets = targets

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        for target in self._targets:
            target.write(offset, buffers)

    def discard(self, offset: int, size: int) -> None:
        for target in self._targets:
            target.discard(offset, size)

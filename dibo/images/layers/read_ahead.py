"""Layers that are read while something else is done, so that their files are at hand when their turn comes.

A build whose last hook has changed has all layers below from the start, and one processor to spare while steps run.
Each of these layers is read, checked and unpacked into a file of its own (dibo.images.layers.unpacked) in a thread, the
largest first, and kept for builds to come (dibo.images.layers.kept_layers). Which bytes come of a layer is the same
either way; one that could not be read ahead is read later, and what is wrong with it is said then.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dibo.errors import DiboError
from dibo.images.image import Layer
from dibo.images.layers.kept_layers import KeptLayers
from dibo.images.layers.limits import MIB, Limits
from dibo.images.layers.load import TURN
from dibo.images.layers.unpacked import TooMuch, UnpackedContent, open_unpacked, unpack, with_content
from dibo.system.profiling import trace as profiling
from dibo.system.threads import beside

LEAST: Final = MIB
"""Bytes of a layer that is worth a file."""


class _Stopped(Exception):
    """The command ends: what is read is of no use any more."""


class ReadAhead:
    """Layers are unpacked into files in `directory`, of which they take at most half of the room, and go from there to
    `kept`. A context manager: what `layers` gives can be read while it lasts."""

    def __init__(self, directory: Path, kept: KeptLayers, limits: Limits) -> None:
        self._directory, self._kept, self._limits = directory, kept, limits
        self._contents: dict[str, UnpackedContent] = {}
        """By the digest of the tar."""
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for content in self._contents.values():
            os.close(content.descriptor)
        self._contents.clear()

    @contextlib.contextmanager
    def meanwhile(self, layers: Sequence[Layer]) -> Iterator[None]:
        """Read `layers` while the body runs, unless they are kept. At its end the one at hand is read to its end; no
        other one is begun."""
        worth = [layer for layer in layers if (layer.size or 0) >= LEAST]
        work = [partial(self._read, layer) for layer in sorted(worth, key=_size, reverse=True)]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(min(interval, TURN))
        try:
            with beside(work, threads=1, stop=lambda: None):
                try:
                    yield
                except BaseException:
                    self._stopped = True
                    raise
        finally:
            sys.setswitchinterval(interval)

    def layers(self, layers: Sequence[Layer]) -> tuple[Layer, ...]:
        """The same layers, those that were read as they were read."""
        return tuple(
            layer if (content := self._content(layer)) is None else with_content(layer, content)
            for layer in layers
        )

    def _content(self, layer: Layer) -> UnpackedContent | None:
        """What was read of the layer, now or before."""
        name = layer.diff_id
        if name is None or (layer.size or 0) < LEAST:
            return None
        if name not in self._contents and (content := self._kept.open(name)) is not None:
            self._contents[name] = content
        return self._contents.get(name)

    def _read(self, layer: Layer) -> None:
        if layer.diff_id is None or self._content(layer) is not None:
            return  # without a digest, it cannot be known again
        path = self._directory / layer.diff_id.partition(":")[2]
        try:
            room = min(shutil.disk_usage(self._directory).free // 2, self._kept.most)
            with profiling.span(f"read ahead {layer.diff_id}"):
                unpack(layer, path, limits=self._limits, room=room, keep=self._keep)
            self._contents[layer.diff_id] = open_unpacked(path)
            self._kept.take(layer.diff_id, path)
        except (DiboError, OSError, TooMuch, _Stopped):
            pass  # it is read when its turn comes, and what is wrong with it is said then
        finally:
            path.unlink(missing_ok=True)  # its descriptor is enough

    def _keep(self, _: bytes) -> bool:
        if self._stopped:
            raise _Stopped
        return True


def _size(layer: Layer) -> int:
    return layer.size or 0

"""A layer kept as it is stored, once all that is known of it was seen to be true."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

from dibo.images.image import Layer, Reader
from dibo.images.layers.limits import Limits
from dibo.images.layers.stream import Stream


def save(layer: Layer, path: Path) -> None:
    """Write the bytes of `layer` as they are stored to `path`. Raises VerificationFailed when their digest, their size
    or the digest of the tar in them is another, LayerError, and what opening the layer raises."""
    with path.open("wb") as file:
        check(replace(layer, open=lambda: _teed(layer, file)))


def check(layer: Layer) -> None:
    """Read a layer for the sake of its digests. Raises as `save` does."""
    with Stream(layer, limits=Limits()) as stream:
        while stream.next() is not None:
            pass


@contextlib.contextmanager
def _teed(layer: Layer, file: IO[bytes]) -> Iterator[Reader]:
    with layer.open() as stream:
        yield _Tee(stream, file)


class _Tee:
    def __init__(self, stream: Reader, file: IO[bytes]) -> None:
        self._stream, self._file = stream, file

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self._file.write(data)
        return data

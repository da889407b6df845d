"""How many bytes have been read of layers that several threads may read."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

from dibo.images.image import Layer, Reader
from dibo.units import OnBytes


class ByteCount:
    """Tells `on_bytes` the sum of what all watched readers have read, of `total`."""

    def __init__(self, on_bytes: OnBytes, total: int | None) -> None:
        self._on_bytes, self._total = on_bytes, total
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            done = self._done
        self._on_bytes(done, self._total)

    def layer(self, layer: Layer) -> Layer:
        """The same layer, whose bytes are counted as they are read."""
        return replace(layer, open=self.opener(layer.open))

    def opener(
        self, open_source: Callable[[], AbstractContextManager[Reader]]
    ) -> Callable[[], AbstractContextManager[Reader]]:
        """The same bytes, counted. What was read in an attempt that failed counts no more."""

        @contextlib.contextmanager
        def opened() -> Iterator[Reader]:
            with open_source() as stream:
                counted = _Counted(stream, self)
                try:
                    yield counted
                except BaseException:
                    self.add(-counted.read_bytes)
                    raise

        return opened


class _Counted:
    def __init__(self, stream: Reader, count: ByteCount) -> None:
        self._stream, self._count = stream, count
        self.read_bytes = 0

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self.read_bytes += len(data)
        self._count.add(len(data))
        return data


def total_size(sizes: list[int | None]) -> int | None:
    """The sum, if all are known."""
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None

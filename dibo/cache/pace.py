"""How slow a cache may be: one that brings a layer more slowly than it is built is no help."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from dibo.errors import Unreachable
from dibo.images.image import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The bytes a second that a layer must come with, on average, once `grace` seconds have passed."""

    slowest: int = 256 << 10
    grace: float = 15.0
    clock: Callable[[], float] = time.monotonic


PACE: Final = Pace()


def paced(
    opened: Callable[[], AbstractContextManager[Reader]], pace: Pace = PACE
) -> Callable[[], AbstractContextManager[Reader]]:
    """The same stream, which raises Unreachable when it comes too slowly."""

    @contextlib.contextmanager
    def reader() -> Iterator[Reader]:
        with opened() as stream:
            yield _Paced(stream, pace)

    return reader


class _Paced:
    """Counts the time that reading takes, and not that of whoever reads."""

    def __init__(self, stream: Reader, pace: Pace) -> None:
        self._stream, self._pace = stream, pace
        self._waited = 0.0
        self._bytes = 0

    def read(self, size: int, /) -> bytes:
        began = self._pace.clock()
        data = self._stream.read(size)
        self._waited += self._pace.clock() - began
        self._bytes += len(data)
        rate = self._bytes / self._waited if self._waited > self._pace.grace else self._pace.slowest
        if data and rate < self._pace.slowest:
            raise Unreachable(
                f"the registry sends {rate / 1000:.0f} kB/s, expected at least {self._pace.slowest / 1000:.0f}",
                hint="what is slower than building is built",
            )
        return data

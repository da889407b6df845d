"""How long to bear with a registry: time-outs, further tries, and what is worth one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dibo.errors import DiboError


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds to connect, between two bytes, before each further try; the longest wait that a registry may ask for;
    and the bytes a second below which a transfer counts as stuck."""

    connect: float = 10.0
    read: float = 30.0
    pauses: tuple[float, ...] = (0.5, 2.0)
    longest_wait: float = 20.0
    slowest: int = 4096
    progress: int = 16 << 20
    """Bytes after which a cut is a new one, not the same trouble again."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


PATIENCE: Final = Patience()


class Passing(Exception):
    """Something that may go better the next time; `error` is what it is when it does not."""

    def __init__(self, error: DiboError, wait: float = 0.0) -> None:
        super().__init__(error.message)
        self.error, self.wait = error, wait

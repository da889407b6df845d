"""How patiently dibo asks servers: time-outs, the lowest rate, further tries, and what is worth one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Final, TypeVar

from dibo.errors import DiboError
from dibo.system import waits
from dibo.units import human_size

_T = TypeVar("_T")
TRANSIENT_STATUS: Final = (408, 429, 500, 502, 503, 504)
"""Answers of HTTP servers that may be others the next time (RFC 9110, 15.5 and 15.6)."""


def _jitter() -> float:
    return random.uniform(0.5, 1.5)  # noqa: S311 - so that runners do not come back in step


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Seconds to connect, between two bytes, and before each further try; the longest wait that a server may ask for;
    the bytes a second below which a transfer is given up."""

    connect: float = 10.0
    read: float = 30.0
    """Seconds of silence; the rate of a transfer is measured over as many."""
    pauses: tuple[float, ...] = (0.5, 2.0)
    longest_wait: float = 20.0
    slowest: int = 4096
    progress: int = 16 << 20
    """Bytes after which a cut is a new one, not the same trouble again."""
    sleep: Callable[[float], None] = waits.pause
    clock: Callable[[], float] = waits.clock
    jitter: Callable[[], float] = _jitter
    """What each pause is multiplied by."""

    @property
    def tries(self) -> int:
        return len(self.pauses) + 1


DEFAULT_POLICY: Final = RetryPolicy()


class Transient(Exception):
    """Something that may go better the next time; `error` is what it is when it does not. `wait` is in seconds."""

    def __init__(self, error: DiboError, wait: float = 0.0) -> None:
        super().__init__(error.message)
        self.error, self.wait = error, wait


def with_retries(once: Callable[[], _T], policy: RetryPolicy) -> _T:
    """The result of `once`, which is tried again while it raises Transient and the policy has pauses left."""
    for failures in count():
        try:
            return once()
        except Transient as transient:
            pause_before_retry(transient, failures, policy)
    raise AssertionError("the policy has no end")


def pause_before_retry(transient: Transient, failures: int, policy: RetryPolicy) -> None:
    """Wait before the next try, or raise the error when it failed too often: `failures` times before this one."""
    if failures >= len(policy.pauses) or transient.wait > policy.longest_wait or waits.stopped():
        raise transient.error from transient
    policy.sleep(max(transient.wait, policy.pauses[failures] * policy.jitter()))


class RateGuard:
    """Measures the rate of one transfer over windows of `policy.read` seconds of waiting. What its reader does with the
    bytes takes none of that time."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._bytes = 0
        self._waited = 0.0
        self.rate = ""
        """Of the last window, for people."""

    def is_too_slow(self, read: Callable[[], bytes]) -> tuple[bytes, bool]:
        """What `read` returns, and whether the last window brought less than the policy requires."""
        policy = self._policy
        began = policy.clock()
        data = read()
        self._waited += policy.clock() - began
        self._bytes += len(data)
        if self._waited < policy.read:
            return data, False
        self.rate = f"{human_size(int(self._bytes / self._waited))}/s"
        slow = bool(data) and self._bytes < policy.slowest * self._waited
        self._bytes, self._waited = 0, 0.0
        return data, slow

"""Several things at a time, in threads, and the first fault of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

_LOOK_SECONDS: Final = 0.5
"""Python runs the handler of a signal in the main thread, and only once that is out of what it waits in. A signal that
comes as the wait begins, or that the kernel gives to another thread, ends no wait: so none is long."""


_END_SECONDS: Final = 10.0
"""How long threads have to end after `stop`, together."""


def in_threads(work: Sequence[Callable[[], None]], *, stop: Callable[[], None] | None = None) -> None:
    """Do all of it, each in a thread, and wait for all. Raises what the first raised that failed. Where a signal ends
    the wait, `stop` is called, which has the threads end, so that they say what becomes of their work."""
    faults: list[BaseException] = []

    def run(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(one,), daemon=True) for one in work]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(_LOOK_SECONDS)
    except BaseException:
        if stop is not None:
            stop()
            end = time.monotonic() + _END_SECONDS
            for thread in threads:
                if thread.ident is not None:  # it was started
                    thread.join(max(0.0, end - time.monotonic()))
        raise
    if faults:
        raise faults[0]


@contextlib.contextmanager
def beside(
    work: Sequence[Callable[[], None]], *, threads: int, stop: Callable[[], None] | None = None
) -> Iterator[None]:
    """Do `work`, which raises nothing, in its order, in some threads, while the body runs. At its end nothing more is
    begun. With `stop`, that is called then, and what was begun is waited for; else it ends with the process."""
    turn, ended = threading.Lock(), threading.Event()
    rest = iter(work)

    def run() -> None:
        while not ended.is_set():
            with turn:
                one = next(rest, None)
            if one is None:
                return
            one()

    started = [threading.Thread(target=run, daemon=True) for _ in range(min(threads, len(work)))]
    try:
        for thread in started:
            thread.start()
        yield
    finally:
        ended.set()
        if stop is not None:
            stop()
            for thread in started:
                while thread.is_alive():
                    thread.join(_LOOK_SECONDS)

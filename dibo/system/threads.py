"""Several things at a time, in threads, and the first fault of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

_LOOK_SECONDS: Final = 0.5
"""Python runs the handler of a signal in the main thread, and only once that is out of what it waits in. A signal that
comes as the wait begins, or that the kernel gives to another thread, ends no wait: so none is long."""


def in_threads(work: Sequence[Callable[[], None]]) -> None:
    """Do all of it, each in a thread, and wait for all. Raises what the first raised that failed."""
    faults: list[BaseException] = []

    def run(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(one,), daemon=True) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(_LOOK_SECONDS)
    if faults:
        raise faults[0]

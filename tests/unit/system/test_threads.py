"""Several things at a time: they end with what fails, and with a signal."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from dibo.errors import Interrupted
from dibo.system.signals import interruptible
from dibo.system.threads import in_threads
from tests.support.timeouts import TIMEOUT


def test_all_is_done_and_the_first_fault_raised() -> None:
    done: list[int] = []

    def fails() -> None:
        raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"):
        in_threads([lambda: done.append(1), fails, lambda: done.append(2)])
    assert sorted(done) == [1, 2]


def test_a_signal_that_another_thread_gets() -> None:
    """The wait of the main thread goes on as if there were none."""
    interrupted = threading.Event()
    seen: list[bool] = []

    def work() -> None:
        time.sleep(0.2)  # until the main thread waits
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        seen.append(interrupted.wait(TIMEOUT))

    def main() -> None:
        try:
            in_threads([work])
        finally:
            interrupted.set()

    with pytest.raises(Interrupted), interruptible():
        main()
    while not seen:
        time.sleep(0.01)
    assert seen == [True]


def test_what_ends_says_so_before_the_signal_does() -> None:
    told = threading.Event()
    said: list[str] = []

    def work() -> None:
        told.wait(TIMEOUT)
        time.sleep(0.1)  # as cleaning up takes
        said.append("interrupted")

    with pytest.raises(Interrupted), interruptible():
        in_threads([work, work, lambda: os.kill(os.getpid(), signal.SIGTERM)], stop=told.set)
    assert said == ["interrupted"] * 2

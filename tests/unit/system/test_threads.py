"""Several things at a time: they end with what fails, and with a signal."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial

import pytest

from dibo.errors import Interrupted
from dibo.system.signals import interruptible
from dibo.system.threads import beside, in_threads
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


def test_what_goes_on_beside_other_work_begins_nothing_more_at_the_end() -> None:
    begun, goes_on = threading.Semaphore(0), threading.Event()
    done: list[int] = []

    def work(number: int) -> None:
        begun.release()
        goes_on.wait()
        done.append(number)

    with beside([partial(work, number) for number in range(9)], threads=2, stop=goes_on.set):
        begun.acquire()
        begun.acquire()
        assert done == []
    assert sorted(done) == [0, 1], "both that were begun were waited for"

"""A signal ends what runs, wherever it comes, and leaves no lock taken."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, cast

import pytest

from dibo.errors import Interrupted
from dibo.system.signals import interruptible, uninterrupted

TERM = partial(signal.raise_signal, signal.SIGTERM)
"""A call into C: Python looks for signals when it is back in the frame of the caller."""


def test_a_lock_that_is_taken_when_the_signal_comes_is_given_back() -> None:
    given_back: list[bool] = []
    lock = types.SimpleNamespace(
        acquire=None, release=None, __enter__=TERM, __exit__=lambda *_: given_back.append(True)
    )
    condition = threading.Condition(cast(Any, lock))
    with pytest.raises(Interrupted), interruptible():
        with condition:
            pass
        threading.Event().wait()
    assert given_back == [True]


def test_a_context_is_left_if_the_signal_comes_as_it_is_entered() -> None:
    @contextlib.contextmanager
    def context() -> Iterator[None]:
        yield

    entered: list[bool] = []
    manager = context()
    cast(Any, manager).gen = map(signal.raise_signal, [signal.SIGTERM])
    with pytest.raises(Interrupted), interruptible():
        with manager:
            entered.append(True)
        threading.Event().wait()
    assert entered == [True]


@pytest.mark.parametrize(
    "wait",
    [
        lambda: threading.Event().wait(),
        lambda: Future[None]().result(),
        lambda: queue.Queue[None]().get(),
        lambda: queue.SimpleQueue[None]().get(),
        lambda: threading.Semaphore(0).acquire(),
    ],
    ids=["event", "future", "queue", "simple queue", "semaphore"],
)
def test_waits_end(wait: Callable[[], object]) -> None:
    with pytest.raises(Interrupted), interruptible():
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        wait()


def test_the_wait_for_a_thread_ends() -> None:
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait)
    thread.start()
    with pytest.raises(Interrupted), interruptible():
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        thread.join()
    go_on.set()
    thread.join()


def test_the_signal_that_came_is_the_one_that_is_told() -> None:
    lock = types.SimpleNamespace(
        acquire=None,
        release=None,
        __enter__=partial(signal.raise_signal, signal.SIGHUP),
        __exit__=lambda *_: None,
    )
    with pytest.raises(Interrupted) as caught, interruptible():
        with threading.Condition(cast(Any, lock)):
            pass
        threading.Event().wait()
    assert caught.value.signum == signal.SIGHUP


def test_what_must_not_be_half_done_is_done() -> None:
    done: list[str] = []
    with pytest.raises(Interrupted), interruptible():
        with uninterrupted():
            TERM()
            done.append("whole")
        done.append("after")
    assert done == ["whole"]


def test_one_within_another_does_not_end_it() -> None:
    done: list[str] = []
    with pytest.raises(Interrupted), interruptible():
        with uninterrupted():
            with uninterrupted():
                pass
            TERM()
            done.append("whole")
        done.append("after")
    assert done == ["whole"]


def test_another_thread_does_not_hold_back_signals() -> None:
    def hold(entered: threading.Event) -> None:
        with uninterrupted():
            entered.set()
            leave.wait()

    leave, entered = threading.Event(), threading.Event()
    thread = threading.Thread(target=hold, args=[entered])
    thread.start()
    entered.wait()
    done: list[str] = []
    with pytest.raises(Interrupted), interruptible():
        TERM()
        done.append("after")
    leave.set()
    thread.join()
    assert done == []


def test_a_signal_just_before_signals_are_held_back() -> None:
    """It comes in the frame that is about to do so: what is within is done, and it counts then."""
    done: list[str] = []
    code = uninterrupted.__wrapped__.__code__  # type: ignore[attr-defined]

    def trace(frame: types.FrameType, event: str, argument: object) -> None:
        if frame.f_code is code and event == "call":
            sys.settrace(None)
            cast(Any, signal.getsignal(signal.SIGTERM))(signal.SIGTERM, frame)

    with pytest.raises(Interrupted), interruptible():
        sys.settrace(trace)
        with uninterrupted():
            done.append("whole")
        threading.Event().wait(5)
    assert done == ["whole"]


def test_handlers_are_as_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)]
    with pytest.raises(Interrupted), interruptible():
        TERM()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)

"""Signals that end a command: as an exception, once; and what must not be half done when one comes."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType

from dibo.errors import Interrupted
from dibo.system import waits
from dibo.system.process import GRACE_SECONDS, process_table

_held_back: list[int] | None = None
"""Signals that came within `uninterrupted`; None outside."""


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Within `interruptible`, in the main thread: let a signal that comes meanwhile count at the end.

    Blocking signals in this thread would not do: the kernel gives them to another, and Python calls the handler here.
    """
    global _held_back
    held_back = _held_back = []
    try:
        yield
    finally:
        _held_back = None
        if held_back and callable(handler := signal.getsignal(held_back[0])):
            handler(held_back[0], None)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into Interrupted, once: cleaning up is not interrupted again."""

    def raise_once(signum: int, _frame: FrameType | None) -> None:
        if _held_back is not None:
            _held_back.append(signum)
            return
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        waits.stop()
        raise Interrupted(signum)

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {each: signal.signal(each, raise_once) for each in signals}
    try:
        yield
    except Interrupted:
        _end_descendants()
        raise
    finally:
        waits.resume()
        for each, handler in before.items():
            signal.signal(each, handler)


def _end_descendants() -> None:
    """Kill all that is below this process, and with it what started just before the signal came."""
    me = os.getpid()
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline:
        table = process_table()
        below = {me}
        while more := {pid for pid, (parent, _, _) in table.items() if parent in below} - below:
            below |= more
        left = [pid for pid in below - {me} if table[pid][2] != "Z"]
        if not left:
            break
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)

"""Signals that end a command: as an exception, once; and what must not be half done when one comes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final

from dibo.errors import Interrupted
from dibo.system import waits
from dibo.system.process import GRACE_SECONDS, process_table

_held_back: list[int] | None = None
"""Signals that came within `uninterrupted`; None outside."""

_DELICATE: Final = frozenset(
    {"threading", "queue", "concurrent.futures._base", "concurrent.futures.thread", "contextlib"}
)
"""Modules that hold a lock, or a context that is about to be entered or left, where Python looks for signals."""

_SOON: Final = 0.002
"""Seconds until a signal that came at a delicate moment is looked at again."""


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Within `interruptible`: let a signal that comes meanwhile count at the end. Within itself, the outer one counts.
    Other threads than the main one are never interrupted.

    Blocking signals in this thread would not do: the kernel gives them to another, and Python calls the handler here.
    """
    global _held_back
    if _held_back is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    held_back = _held_back = []
    try:
        yield
    finally:
        _held_back = None
        if held_back and callable(handler := signal.getsignal(held_back[0])):
            handler(held_back[0], None)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into Interrupted, once: cleaning up is not interrupted again.

    The exception comes at any line of dibo's own, but not between the taking of a lock and the block that gives it
    back: a worker would wait for that lock for ever, and a join of the worker too. SIGALRM is used for that.
    """
    first: list[int] = []

    def raise_once(signum: int, frame: FrameType | None) -> None:
        if signum != signal.SIGALRM:
            first.append(signum)
        if _held_back is not None:
            _held_back.append(first[0])
            return
        if _is_delicate(frame):
            signal.setitimer(signal.ITIMER_REAL, _SOON)
            return
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        waits.stop()
        raise Interrupted(first[0])

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before = {number: signal.signal(number, raise_once) for number in signals}
    try:
        yield
    except Interrupted:
        _end_descendants()
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        waits.resume()
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_delicate(frame: FrameType | None) -> bool:
    """Whether an exception raised here could leave a lock taken. Where these modules wait, it cannot: there they give
    back what they hold, and are written to be interrupted (threading.Condition.wait, Thread.join).
    """
    if frame is None:
        return False
    if frame.f_code is uninterrupted.__wrapped__.__code__:  # type: ignore[attr-defined]
        return True  # it is about to hold back signals, or was
    if frame.f_globals.get("__name__") not in _DELICATE:
        return False
    name = frame.f_code.co_name
    waits_here = name in ("join", "_wait_for_tstate_lock") or (name == "wait" and "gotit" in frame.f_locals)
    return not waits_here


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

"""What the program of a worker does: carry out one order after the other, until the pipe is closed."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from dibo.errors import Defect, Interrupted
from dibo.system.profiling.trace import recording_part
from dibo.system.resources import look_for_circles_rarely
from dibo.system.signals import interruptible

Send = Callable[[object], None]
"""Sends a message to the command; from any thread."""
CarryOut = Callable[[Any, Send], object]
"""Gets an order; gives the answer."""


def serve(carry_out: CarryOut) -> int:
    """Carry out what comes over the pipe whose descriptor is the program's argument; the exit code."""
    look_for_circles_rarely()
    connection: Connection[object, object] = Connection(int(sys.argv[1]))
    lock = threading.Lock()

    def send(message: object) -> None:
        with lock:
            connection.send(message)

    try:
        with interruptible(), recording_part():
            while True:
                try:
                    order = connection.recv()
                except EOFError:
                    return 0
                send(carry_out(order, send))
    except Interrupted as stop:
        return 128 + stop.signum


def defect_of(error: Exception) -> Defect:
    """For an unexpected exception."""
    import traceback

    lines = "".join(traceback.format_exception(error))
    return Defect(
        f"a defect of dibo: {type(error).__name__}: {error}",
        hint=f"please report it to the developers of dibo, with:\n{lines}",
    )

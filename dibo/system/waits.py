"""Waits that a signal ends, whichever thread waits: pauses, and sockets that are read from.

Python runs a signal's handler in the main thread alone. A thread that waits for a slow server would go on waiting, and
a join of it too; so the handler (dibo.system.signals.interruptible) calls `stop`, which shuts down every
socket that is watched here: the thread reads its end, and ends with an error.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any, Final, Protocol

clock: Final = time.monotonic
ANSWER_SECONDS: Final = 120.0
"""A server has so long to send all headers of an answer, once it has the request."""
_SHUT_RDWR: Final = 2  # socket.SHUT_RDWR
_STEP: Final = 0.1


class Socket(Protocol):
    def shutdown(self, how: int, /) -> None: ...


_watched: dict[int, weakref.ref[Socket]] = {}  # a plain dict: copied in one step, in the handler of a signal
_stopped = False


def watch(socket: Socket) -> None:
    """Shut `socket` down when a signal comes."""
    key = id(socket)
    _watched[key] = weakref.ref(socket, lambda _: _watched.pop(key, None))
    if _stopped:
        _shut(socket)


def stop() -> None:
    """End all waits, those of the future included, until `resume`."""
    global _stopped
    _stopped = True
    for reference in list(_watched.values()):
        if (socket := reference()) is not None:
            _shut(socket)


def resume() -> None:
    global _stopped
    _stopped = False


def stopped() -> bool:
    return _stopped


def pause(seconds: float) -> None:
    """Sleep for `seconds`, or until a signal comes."""
    end = clock() + seconds
    while not _stopped and (left := end - clock()) > 0:
        time.sleep(min(left, _STEP))


def _shut(socket: Socket) -> None:
    with contextlib.suppress(OSError):
        socket.shutdown(_SHUT_RDWR)


@contextlib.contextmanager
def deadline(socket: Socket | None, seconds: float) -> Iterator[None]:
    """Raises TimeoutError where what is done with `socket` takes longer, however steadily bytes come."""
    late = threading.Event()

    def end() -> None:
        late.set()
        if socket is not None:
            _shut(socket)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if late.is_set():
            raise TimeoutError("timed out") from error
        raise
    finally:
        timer.cancel()
    if late.is_set():  # what came so far may look whole
        raise TimeoutError("timed out")


class WatchedConnection:
    """Mixed into a connection of http.client or urllib3: its socket is watched, and answers have a deadline."""

    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        if self.sock is not None:
            watch(self.sock)

    def getresponse(self) -> Any:
        with deadline(self.sock, ANSWER_SECONDS):
            return super().getresponse()  # type: ignore[misc]

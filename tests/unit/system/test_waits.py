"""Waits that a signal ends."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from dibo.system import waits
from tests.support.timeouts import TIMEOUT


def test_stop_ends_a_read_of_another_thread() -> None:
    here, there = socket.socketpair()
    waits.watch(here)
    read: list[bytes] = []
    thread = threading.Thread(target=lambda: read.append(here.recv(1)))
    thread.start()
    try:
        waits.stop()
        thread.join(TIMEOUT)
        assert read == [b""]
        began = time.monotonic()
        waits.pause(TIMEOUT)
        assert time.monotonic() - began < TIMEOUT / 2
        late, _ = socket.socketpair()
        waits.watch(late)
        assert late.recv(1) == b"", "what is opened later is ended as well"
    finally:
        waits.resume()
        there.close()
    waits.pause(0.01)


def test_a_deadline() -> None:
    here, there = socket.socketpair()
    with pytest.raises(TimeoutError, match="timed out"), waits.deadline(here, 0.05):
        if here.recv(1) == b"":
            raise ConnectionError("closed")
    with waits.deadline(here, TIMEOUT), pytest.raises(ZeroDivisionError):
        _ = 1 // 0
    there.close()

"""The monitor, with a QEMU that starts no machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

import pytest

from dibo.machines.qmp import Monitor

USERNET = (
    "Hub -1 (net):\\r\\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\\r\\n"
    "  TCP[HOST_FORWARD]  14       127.0.0.1 40123       10.0.2.15    22     0     0\\r\\n"
    "  UDP[HOST_FORWARD]  15       127.0.0.1  5353       10.0.2.15    53     0     0\\r\\n"
)


def answering(lines: Sequence[str]) -> Monitor:
    here, there = socket.socketpair()

    def answer() -> None:
        with there, there.makefile("rw") as file:
            file.write('{"QMP": {}}\n')
            for line in ('{"return": {}}', *lines):
                file.flush()
                file.readline()
                file.write(f"{line}\n")

    threading.Thread(target=answer, daemon=True).start()
    return Monitor(here)


def test_ports_that_qemu_chose() -> None:
    monitor = answering(['{"event": "RESUME"}\n{"return": "' + USERNET + '"}'])
    assert monitor.forwarded_ports() == {("tcp", 22): 40123, ("udp", 53): 5353}


def test_refusals_and_the_end() -> None:
    monitor = answering(['{"error": {"desc": "no such command"}}'])
    with pytest.raises(LookupError, match="no such command"):
        monitor.execute("query-nothing")
    with pytest.raises(ConnectionError):
        monitor.execute("query-status")

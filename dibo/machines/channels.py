"""The door to sockets: pairs that lead into a machine, and what answers at a port of this one."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from typing import Final

_CHUNK: Final = 1 << 16


@contextlib.contextmanager
def socket_pairs() -> Iterator[tuple[tuple[socket.socket, socket.socket], tuple[int, int]]]:
    """Two of our ends, and the numbers of the two others, which are closed here when the context ends: by then QEMU
    has them. Ours stay open unless it fails."""
    with contextlib.ExitStack() as stack:
        console, console_end = socket.socketpair()
        monitor, monitor_end = socket.socketpair()
        stack.callback(console.close)
        stack.callback(monitor.close)
        with console_end, monitor_end:
            yield (console, monitor), (console_end.fileno(), monitor_end.fileno())
        stack.pop_all()


def receive(connection: socket.socket, seconds: float, *others: int) -> tuple[bytes | None, set[int]]:
    """What comes within that time, and the other descriptors that can be read. None if nothing came; nothing if the
    other side is gone."""
    ready, _, _ = select.select([connection.fileno(), *others], [], [], seconds)
    data: bytes | None = None
    if connection.fileno() in ready:
        try:
            data = connection.recv(_CHUNK)
        except OSError:
            data = b""
    return data, {number for number in others if number in ready}


def speaks_ssh(address: str, port: int, *, seconds: float) -> bool:
    """Whether an SSH server answers (RFC 4253, 4.2). QEMU takes connections before there is one."""
    try:
        with socket.create_connection((address, port), timeout=seconds) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def read_terminal(descriptor: int) -> bytes:
    """What was typed; nothing at the end."""
    try:
        return os.read(descriptor, _CHUNK)
    except OSError:
        return b""

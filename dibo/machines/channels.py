"""The door to pipes and sockets: those that lead into a machine, and what answers at a port of this one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_CHUNK: Final = 1 << 16
_PIPE: Final = 1 << 20
"""What a user without privileges may ask for (pipe(7), /proc/sys/fs/pipe-max-size)."""


class Console:
    """Our ends of the two pipes of a serial port.

    A serial port writes byte by byte. A socket keeps each byte in a buffer of its own and is full after some 300; a
    firmware whose port takes nothing gives up, with the device error of a port that is broken. A pipe keeps a MiB.
    """

    def __init__(self, source: int, target: int) -> None:
        self._source, self._target = source, target

    def receive(self, seconds: float, *others: int) -> tuple[bytes | None, set[int]]:
        """What comes within that time, and the other descriptors that can be read. None if nothing came; nothing if
        the other side is gone."""
        ready, _, _ = select.select([self._source, *others], [], [], seconds)
        data = read_terminal(self._source) if self._source in ready else None
        return data, {number for number in others if number in ready}

    def send(self, data: bytes) -> None:
        """Raises OSError if the other side is gone."""
        while data:
            data = data[os.write(self._target, data) :]

    def close(self) -> None:
        os.close(self._source)
        os.close(self._target)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelNumbers:
    """File descriptors for QEMU: pipes that the serial port writes to and reads from, a socket for QMP."""

    output: int
    input: int
    monitor: int


@contextlib.contextmanager
def open_channels() -> Iterator[tuple[Console, socket.socket, ChannelNumbers]]:
    """Our ends of the console and of QMP, and the numbers of the others, which are closed here when the context ends:
    by then QEMU has them. Ours stay open unless it fails."""
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as given:
        source, output = os.pipe()
        given.callback(os.close, output)
        ours.callback(os.close, source)
        typed, target = os.pipe()
        given.callback(os.close, typed)
        ours.callback(os.close, target)
        with contextlib.suppress(OSError):  # its user has too many pipes: 64 KiB
            fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, _PIPE)
        monitor, monitor_end = socket.socketpair()
        ours.callback(monitor.close)
        given.callback(monitor_end.close)
        numbers = ChannelNumbers(output=output, input=typed, monitor=monitor_end.fileno())
        yield Console(source, target), monitor, numbers
        ours.pop_all()


def speaks_ssh(address: str, port: int, *, seconds: float) -> bool:
    """Whether an SSH server answers (RFC 4253, 4.2). QEMU takes connections before there is one."""
    try:
        with socket.create_connection((address, port), timeout=seconds) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def read_terminal(descriptor: int) -> bytes:
    """What was written; nothing at the end."""
    try:
        return os.read(descriptor, _CHUNK)
    except OSError:
        return b""

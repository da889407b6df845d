"""A container of docker on our own terminal, or on our standard files where there is none."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import struct
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from typing import Any, Final

from dibo.system.docker_api import Daemon

_CHUNK: Final = 1 << 16
_FRAME: Final = struct.Struct(">BxxxL")  # stream, size (docker API, ContainerAttach)


def run(daemon: Daemon, container: str, *, terminal: bool) -> int:
    """Start a container that was made for it, and carry what is typed and written until it ends; its exit code."""
    socket = daemon.attach(container)
    with contextlib.closing(socket), _raw(daemon, container) if terminal else contextlib.nullcontext():
        daemon.begin(container)
        if terminal:
            _resize(daemon, container)
        threading.Thread(target=_type, args=(socket,), daemon=True).start()
        for stream, data in _plain(socket) if terminal else _framed(socket):
            _write(stream, data)
    return daemon.wait(container)


def _type(socket: Any) -> None:
    """What is typed, until there is no more."""
    with contextlib.suppress(OSError):
        while data := os.read(0, _CHUNK):
            socket.sendall(data)
        socket.shutdown(1)  # SHUT_WR: the container sees the end of its standard input


def _plain(socket: Any) -> Iterator[tuple[int, bytes]]:
    while data := socket.recv(_CHUNK):
        yield 1, data


def _framed(socket: Any) -> Iterator[tuple[int, bytes]]:
    waiting = b""
    while data := socket.recv(_CHUNK):
        waiting += data
        while len(waiting) >= _FRAME.size:
            stream, size = _FRAME.unpack_from(waiting)
            if len(waiting) < _FRAME.size + size:
                break
            yield stream, waiting[_FRAME.size : _FRAME.size + size]
            waiting = waiting[_FRAME.size + size :]


def _write(stream: int, data: bytes) -> None:
    while data:
        data = data[os.write(2 if stream == 2 else 1, data) :]


def _resize(daemon: Daemon, container: str) -> None:
    size = shutil.get_terminal_size()
    daemon.resize(container, rows=size.lines, columns=size.columns)


@contextlib.contextmanager
def _raw(daemon: Daemon, container: str) -> Iterator[None]:
    """Our terminal hands over every key, and tells the container its size."""
    before = termios.tcgetattr(0)
    resized: Callable[..., None] = lambda *_: _resize(daemon, container)  # noqa: E731
    old = signal.signal(signal.SIGWINCH, resized)
    try:
        tty.setraw(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, old)

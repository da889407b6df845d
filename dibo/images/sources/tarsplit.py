"""Layers out of the store of containers, each as the very tar that it was unpacked from.

    python3 -I tarsplit.py        on standard input a socket of AF_UNIX, SOCK_SEQPACKET

A request is one packet: [DIFF, SPLIT] as JSON, with two descriptors: where the tar is written, and what went wrong. A
process of its own answers each, so requests run side by side. The program ends when the socket is closed.

What was unpacked lies in the directory DIFF; SPLIT, compressed with gzip, has the rest of the tar: one JSON object a
line (https://github.com/vbatts/tar-split, tar/storage/entry.go):

    {"type": 2, "payload": base64}          bytes of the tar: headers, padding
    {"type": 1, "name": path, "size": n}    here come the bytes of that file; "name_raw": base64, where not UTF-8

This file is a program of its own, with nothing but Python, because files of other owners can be read only inside the
user's namespace. It changes its root to DIFF first: a link in the layer leads nowhere else.
"""

from __future__ import annotations

import binascii
import gzip
import json
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterable
from typing import Any, Final

LONGEST_REQUEST: Final = 1 << 16
_FLUSH: Final = 1 << 18
_LARGE: Final = 1 << 16  # from here on the kernel moves a file's bytes itself
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def rebuild(lines: Iterable[bytes], out: int) -> None:
    """Write the tar to the file descriptor `out`; names of files are relative to the current directory.

    Raises OSError, and ValueError for what is no split tar or has changed since.
    """
    waiting: list[bytes] = []
    length = 0
    for line in lines:
        entry = json.loads(line)
        size = entry.get("size", 0)
        if entry["type"] == 2:
            waiting.append(binascii.a2b_base64(entry["payload"] or b""))
            length += len(waiting[-1])
        elif size:
            name = _name(entry)
            fd = _open(name)
            try:
                if size < _LARGE:
                    waiting.append(_exactly(fd, size, name))
                    length += size
                else:
                    _write(out, waiting)
                    waiting, length = [], 0
                    _send(out, fd, size, name)
            finally:
                os.close(fd)
        if length >= _FLUSH:
            _write(out, waiting)
            waiting, length = [], 0
    _write(out, waiting)


def _name(entry: dict[str, Any]) -> bytes:
    raw = entry.get("name_raw")
    name = binascii.a2b_base64(raw) if raw else str(entry["name"]).encode()
    return name.lstrip(b"/")


def _open(name: bytes) -> int:
    if not stat.S_ISREG(os.lstat(name).st_mode):  # opening a device does things, and a FIFO may wait
        raise ValueError(f"{name!r} is no plain file any more")
    return os.open(name, _FLAGS)


def _exactly(fd: int, size: int, name: bytes) -> bytes:
    data = os.read(fd, size + 1)
    if len(data) != size:
        raise ValueError(f"{name!r} has another size than it had")
    return data


def _send(out: int, fd: int, size: int, name: bytes) -> None:
    at = 0
    while at < size:
        sent = os.sendfile(out, fd, at, size - at)
        if not sent:
            raise ValueError(f"{name!r} has another size than it had")
        at += sent


def _write(out: int, parts: list[bytes]) -> None:
    data = memoryview(b"".join(parts))
    while data:
        data = data[os.write(out, data) :]


def answer(diff: str, split: str, out: int, *, enter: Callable[[str], None] = os.chroot) -> str:
    """Write the tar of a layer to `out`; what went wrong, or nothing, as where the reader has gone."""
    try:
        with gzip.open(split) as lines:
            enter(diff)
            os.chdir("/")
            rebuild(lines, out)
    except BrokenPipeError:
        return ""
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        return str(error)
    return ""


def serve(requests: socket.socket) -> None:
    """Answer all requests until the other end is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    while True:
        packet, descriptors, _, _ = socket.recv_fds(requests, LONGEST_REQUEST, 2)
        if not packet:
            return
        if os.fork() == 0:
            out, errors = descriptors
            requests.close()
            diff, split = json.loads(packet)
            os.write(errors, answer(diff, split, out).encode(errors="replace"))
            os._exit(0)
        for fd in descriptors:
            os.close(fd)


if __name__ == "__main__":
    serve(socket.socket(fileno=0))

"""A layer out of the store of containers, as the very tar that it was unpacked from.

    python3 -I tarsplit.py DIFF SPLIT > tar

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
import stat
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

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


def main(argv: list[str], *, enter: Callable[[str], None] = os.chroot) -> int:
    diff, split = argv
    try:
        with gzip.open(split) as lines:
            enter(diff)
            os.chdir("/")
            rebuild(lines, 1)
    except BrokenPipeError:
        return 1
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The file in which the output of a step is kept, in case it fails: the beginning and the end, where it is long."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

from dibo.units import MIB

MOST_AT_EACH_END: Final = 8 * MIB


class StepLog:
    """A file of at most twice `most` bytes, and a line that says how many are left out between its halves. A context
    manager: the file can be read once it ends."""

    def __init__(self, path: Path, *, most: int = MOST_AT_EACH_END) -> None:
        self._most = most
        self._file = path.open("w+b")
        self._head = 0
        self._beyond = 0
        """Bytes written after the head. The last of them are in the file behind it, in a ring of `most` bytes; the
        file stands where the next goes."""

    def write(self, line: str) -> None:
        """Keep a line; its end is added."""
        data = f"{line}\n".encode(errors="replace")
        if not self._beyond and self._head + len(data) <= self._most:
            self._file.write(data)
            self._head += len(data)
            return
        while data:
            room = self._most - self._beyond % self._most
            self._file.write(data[:room])
            self._beyond += len(data[:room])
            data = data[room:]
            if self._beyond % self._most == 0:
                self._file.seek(self._head)

    def _close(self) -> None:
        if self._beyond > self._most:
            self._file.seek(self._head)
            ring = self._file.read(self._most)
            oldest = self._beyond % self._most
            tail = ring[oldest:] + ring[:oldest]
            tail = tail[tail.find(b"\n", 0, -1) + 1 :]  # whole lines
            self._file.seek(self._head)
            self._file.write(b"--- %d bytes are left out here\n" % (self._beyond - len(tail)))
            self._file.write(tail)
            self._file.truncate()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

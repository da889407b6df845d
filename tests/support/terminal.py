"""Programs on a pseudo terminal, and what a person would see there: the screen of a terminal emulator."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyte

from tests.support.timeouts import TIMEOUT

PROJECT: Final = Path(__file__).parents[2]
_CLEAN: Final = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "CI", "COLUMNS")


class OnTerminal:
    """A program that writes to a terminal of so many columns and lines."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        columns: int,
        lines: int = 24,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._master, slave = os.openpty()
        self._set_size(slave, columns, lines)
        self.screen: Any = pyte.Screen(columns, lines)
        self._stream: Any = pyte.ByteStream(self.screen)
        self.raw = b""
        control, self._control = os.pipe()
        environment = {name: value for name, value in os.environ.items() if name not in _CLEAN}
        environment |= {"TERM": "xterm-256color", "GO": str(control), "PYTHONPATH": str(PROJECT)}
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
            pass_fds=[control],
            env={**environment, **(variables or {})},
            start_new_session=True,
        )
        os.close(slave)
        os.close(control)

    @property
    def rows(self) -> list[str]:
        """What is on the screen, without empty lines."""
        return [row.rstrip() for row in self.screen.display if row.strip()]

    def wait_for(self, condition: Callable[[list[str]], object]) -> list[str]:
        """The rows, once they are as they should be."""
        end = time.monotonic() + TIMEOUT
        while not condition(self.rows):
            assert time.monotonic() < end, self.rows
            assert self._read(), self.rows
        return self.rows

    def go(self) -> None:
        """Let a program of `script` go on."""
        os.write(self._control, b"x")

    def resize(self, columns: int, lines: int = 24) -> None:
        self.screen.resize(lines, columns)
        self._set_size(self._master, columns, lines)

    def end(self) -> int:
        """Read the rest; the exit code."""
        while self._read():
            pass
        return self.process.wait(TIMEOUT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._control)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], TIMEOUT)
        assert ready, self.rows
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # EIO: nobody has the other end any more
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    @staticmethod
    def _set_size(descriptor: int, columns: int, lines: int) -> None:
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@contextlib.contextmanager
def on_terminal(
    argv: Sequence[str], *, columns: int = 80, lines: int = 24, variables: Mapping[str, str] | None = None
) -> Iterator[OnTerminal]:
    program = OnTerminal(argv, columns=columns, lines=lines, variables=variables)
    try:
        yield program
    finally:
        program.close()


def script(text: str) -> list[str]:
    """A program of Python with a `report`; `go()` waits until the test says so."""
    head = (
        "import os, sys\n"
        "from dibo.system.report import Report\n"
        "def go(): os.read(int(os.environ['GO']), 1)\n"
        "report = Report()\n"
    )
    return [sys.executable, "-c", f"{head}{text}\nreport.close()\n"]

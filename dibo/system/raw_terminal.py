"""The user's terminal as the console of another machine: each key goes there as it is typed, what comes is shown raw.

A terminal in raw mode (termios(3), cfmakeraw) gives no signals for ^C, so an escape of its own leaves: ^], as in
telnet(1) and virsh(1).
"""

from __future__ import annotations

import contextlib
import os
import sys
import termios
import tty
from collections.abc import Iterator
from typing import Final

ESCAPE: Final = b"\x1d"
ESCAPE_NAME: Final = "^]"


def is_interactive() -> bool:
    """Whether standard input and output are terminals."""
    try:
        return os.isatty(0) and os.isatty(1)
    except OSError:
        return False


@contextlib.contextmanager
def raw_terminal() -> Iterator[int]:
    """Standard input in raw mode; its descriptor. The terminal is as before afterwards."""
    sys.stdout.flush()
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0, termios.TCSANOW)
        yield 0
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def show(data: bytes) -> None:
    """Write bytes to standard output as they are. Raises BrokenPipeError when its reader has ended."""
    while data:
        data = data[os.write(1, data) :]

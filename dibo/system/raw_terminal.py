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
_RESET: Final = b"\x1b[0m\x1b[?7h\x1b[?25h"
"""No colours, lines that are wrapped, a cursor that is seen: firmware and boot menus change these (ECMA-48, xterm)."""


def is_interactive() -> bool:
    """Whether standard input and output are terminals."""
    try:
        return os.isatty(0) and os.isatty(1)
    except OSError:
        return False


@contextlib.contextmanager
def raw_terminal() -> Iterator[int]:
    """Standard input in raw mode; its descriptor. Afterwards the terminal is as before, whatever was shown."""
    sys.stdout.flush()
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0, termios.TCSANOW)
        yield 0
    finally:
        with contextlib.suppress(OSError):
            show(_RESET)
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def show(data: bytes) -> None:
    """Write bytes to standard output as they are. Raises BrokenPipeError when its reader has ended."""
    while data:
        data = data[os.write(1, data) :]

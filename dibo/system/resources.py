"""Where the flavours, Containerfile templates and converters that come with dibo are, the user's home, and the
processors.

In an installed dibo they are package data (the wheel puts them below dibo/share); in a checkout they lie at the top
of the project, beside the package.
"""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def shared(name: str) -> Path:
    """The directory `flavours`, `containerfiles` or `converters`."""
    packaged = PACKAGE / "share" / name
    return packaged if packaged.is_dir() else PACKAGE.parent / name


def home() -> Path:
    """The user's home. An id that is in no /etc/passwd, as containers may have it, has none: the root stands in."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def processors() -> int:
    """How many processors this process may use (sched_getaffinity(2))."""
    return len(os.sched_getaffinity(0))

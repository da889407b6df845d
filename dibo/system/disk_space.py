"""Which disk is full: directories, the file systems that they are on, and the room there.

`No space left on device` comes from whatever writes, and names neither the disk nor the file system. The room is looked
at while what was written is still there.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from dibo.errors import OutputError
from dibo.units import human_size

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_SAID: Final = re.compile(
    r"no space left on device|disk quota exceeded|exceeds free space on media", re.IGNORECASE
)
_LITTLE: Final = 4 << 20  # bytes: what needed more failed with less


def is_full(error: OSError) -> bool:
    return error.errno in _FULL


def says_full(lines: Iterable[str]) -> bool:
    """Whether a program's output tells of a full disk; the third of its texts is xorriso's."""
    return any(_SAID.search(line) for line in lines)


def reason(error: OSError, place: Path) -> str:
    """What the system says of an error at `place`; of a full disk, which it is."""
    text = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
    return f"{text}: {describe([place])}" if is_full(error) else text


def describe(places: Iterable[Path]) -> str:
    """Those places whose file system is full, or all of them where none is any more, each with its file system."""
    looked = list(dict.fromkeys(map(_existing, places)))
    return ", ".join(
        f"{place} on the {mount_of(place)[1]} at {mount_of(place)[0]}{_room(place)[1]}"
        for place in full(looked) or looked
    )


def full(places: Iterable[Path]) -> list[Path]:
    """Those whose file system has no room left."""
    return [place for place in places if _room(place)[0] < _LITTLE]


def mount_of(directory: Path) -> tuple[str, str]:
    """Where the file system of a directory is mounted, and its type, as proc(5) says in /proc/self/mountinfo."""
    try:
        device = directory.stat().st_dev
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return "?", ""
    device_number = f"{os.major(device)}:{os.minor(device)}"
    for line in reversed(lines):  # the last mount hides those before
        head, _, tail = line.partition(" - ")
        words = head.split()
        if words[2] == device_number:
            return words[4].encode().decode("unicode_escape"), tail.split()[0]
    return "?", ""


def require_temporary_directory() -> None:
    """Raises OutputError for a TMPDIR that cannot be used: programs that dibo starts take it as it is, and fail in ways
    of their own."""
    named = os.environ.get("TMPDIR", "")
    if named and not (Path(named).is_dir() and os.access(named, os.W_OK | os.X_OK)):
        problem = "which you may not write to" if Path(named).is_dir() else "which does not exist"
        raise OutputError(
            f"TMPDIR names the directory {named}, {problem}",
            hint="make it, or unset TMPDIR: then /tmp is used",
        )


def temporary_directory() -> Path:
    return Path(tempfile.gettempdir())


def _existing(path: Path) -> Path:
    """The path, or the directory above it that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _room(place: Path) -> tuple[int, str]:
    """The bytes left for this user, 0 where there is no inode left; and the same in words."""
    try:
        state = os.statvfs(place)
    except OSError:
        return _LITTLE, ""
    if state.f_files and not state.f_favail:
        return 0, " (no inode left)"
    left = state.f_bavail * state.f_frsize
    return left, f" ({human_size(left)} left)"

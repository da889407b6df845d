"""Where the flavours, Containerfile templates and converters that come with dibo are, the user's home, the processors
and the memory.

In an installed dibo they are package data (the wheel puts them below dibo/share); in a checkout they lie at the top
of the project, beside the package.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
from pathlib import Path
from typing import Final

from dibo.errors import UsageError

_LARGEST: Final = 16 << 20
"""Bytes of a file that is written by hand."""

_OBJECTS: Final = 50_000
"""New ones after which Python looks for circles among the youngest; by default, 700."""

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


def expanded(path: str | Path) -> Path:
    """A path, with the home directory of a user in the place of `~` or `~user`. Raises UsageError for a user that is
    not known here."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(
            f"the path {path} begins at the home directory of a user that is not known here",
            hint=f"write ./{path} for a file of that name",
        ) from None


def read_whole(path: Path) -> bytes:
    """A file that a user wrote, or a pipe with one: a list, a layout, a policy. What is larger, or has no end as
    /dev/zero, is OSError (EFBIG). Raises OSError."""
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise OSError(errno.EFBIG, f"it has more than {_LARGEST >> 20} MiB", str(path))
    return content


def look_for_circles_rarely() -> None:
    """Have Python look less often for objects that only refer to each other. A tree has tens of thousands of objects
    and none of these, so looking only takes time."""
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])


def processors() -> int:
    """How many processors this process may use (sched_getaffinity(2))."""
    return len(os.sched_getaffinity(0))


def available_memory() -> int | None:
    """Bytes that programs can still take without swapping: of the machine (proc(5), MemAvailable), and of the control
    groups that this process is in (cgroups(7), memory.max). None where nothing says so."""
    amounts = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                amounts.append(int(line.split()[1]) * 1024)
    with contextlib.suppress(OSError, ValueError):
        groups = Path("/proc/self/cgroup").read_text().splitlines()
        own = next((line.removeprefix("0::") for line in groups if line.startswith("0::")), None)
        root = Path("/sys/fs/cgroup")
        directory = root / own.lstrip("/") if own is not None else root
        for group in (directory, *directory.parents):
            if not group.is_relative_to(root):
                break
            amounts += _left_in_group(group)
    return max(0, min(amounts)) if amounts else None


def _left_in_group(group: Path) -> list[int]:
    with contextlib.suppress(OSError, ValueError):
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            taken = int((group / "memory.current").read_text()) - int(stat.get("inactive_file", 0))
            return [int(limit) - taken]
    return []

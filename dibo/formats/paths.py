"""How a path leads through symbolic links, as a process with its root there would follow it: path_resolution(7).

The one walker of dibo: what a directory is and how something is found in it is the caller's (`lookup`), so file systems
in images, trees in memory and layers that are still being read are walked alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

MOST_LINKS: Final = 40
"""Links on one way, as in the kernel (MAXSYMLINKS)."""
_MOST_STEPS: Final = 1 << 16
"""Names on one way, those of links included."""
T = TypeVar("T")
Trail = list[tuple[bytes, T]]
"""The names on the way and what they lead to, with no link among them; the root, without a name, is the first."""


class TooManyLinks(Exception):
    """The path leads through more links than the kernel follows, perhaps in a circle."""


def split(path: str | bytes) -> list[bytes]:
    """The names in a path: leading, double and trailing slashes and `.` say nothing."""
    data = path.encode(errors="surrogateescape") if isinstance(path, str) else path
    return [name for name in data.split(b"/") if name not in (b"", b".")]


def follow(
    root: T, names: Iterable[bytes], lookup: Callable[[Trail[T], bytes], T | bytes | None]
) -> Trail[T] | None:
    """The way that `names` lead, None where they lead nowhere.

    `lookup` is told the way so far and the next name, never `..`, which ends at the root. It answers with what the name
    leads to, with the target of a link as bytes, or with None. Raises TooManyLinks, and what `lookup` raises.
    """
    trail: Trail[T] = [(b"", root)]
    todo = [name for name in names if name not in (b"", b".")]
    todo.reverse()
    links = steps = 0
    while todo:
        name = todo.pop()
        steps += 1
        if name == b"..":
            if len(trail) > 1:
                trail.pop()
            continue
        target = lookup(trail, name)
        if target is None:
            return None
        if not isinstance(target, bytes):
            trail.append((name, target))
            continue
        links += 1
        if links > MOST_LINKS or steps > _MOST_STEPS:
            raise TooManyLinks
        if target.startswith(b"/"):
            del trail[1:]
        todo.extend(reversed(split(target)))
    return trail


def find(root: T, path: str | bytes, lookup: Callable[[Trail[T], bytes], T | bytes | None]) -> T | None:
    """What lies at `path`, links followed; None where nothing does, or too many links lead there."""
    try:
        trail = follow(root, split(path), lookup)
    except TooManyLinks:
        return None
    return trail[-1][1] if trail is not None else None

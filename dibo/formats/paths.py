"""How a path leads through symbolic links, as a process with its root there would follow it: path_resolution(7).

The one walker of dibo: what a directory is and how something is found in it is the caller's (`lookup`), so file systems
in images, trees in memory and layers that are still being read are walked alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

MOST_LINKS: Final = 40
"""Links on one way, as in the kernel (MAXSYMLINKS)."""
MOST_LINK_BYTES: Final = 4096
"""Of the targets of all links on one way together: PATH_MAX, which the kernel has for each of them."""
FREE_NAMES: Final = 16
"""Names in targets of links on one way that are not counted as work."""
T = TypeVar("T")
Trail = list[tuple[bytes, T]]
"""The names on the way and what they lead to, with no link among them; the root, without a name, is the first."""


class TooManyLinks(Exception):
    """The path leads through more links than the kernel follows, perhaps in a circle, or through longer ones than
    MOST_LINK_BYTES."""


def split(path: str | bytes) -> list[bytes]:
    """The names in a path: leading, double and trailing slashes and `.` say nothing."""
    data = path.encode(errors="surrogateescape") if isinstance(path, str) else path
    return [name for name in data.split(b"/") if name not in (b"", b".")]


def follow(
    root: T,
    names: Iterable[bytes],
    lookup: Callable[[Trail[T], bytes], T | bytes | None],
    spend: Callable[[int], None] | None = None,
) -> Trail[T] | None:
    """The way that `names` lead, None where they lead nowhere.

    `lookup` is told the way so far and the next name, never `..`, which ends at the root. It answers with what the name
    leads to, with the target of a link as bytes, or with None. `spend` is told how many names links add beyond
    FREE_NAMES, before they are walked: one who follows many ways can bound their sum. Raises TooManyLinks, and what
    `lookup` and `spend` raise.
    """
    trail: Trail[T] = [(b"", root)]
    todo = [name for name in names if name not in (b"", b".")]
    todo.reverse()
    links = link_bytes = link_names = 0
    while todo:
        name = todo.pop()
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
        link_bytes += len(target)
        if links > MOST_LINKS or link_bytes > MOST_LINK_BYTES:
            raise TooManyLinks
        added = split(target)
        link_names += len(added)
        if spend is not None and link_names > FREE_NAMES:
            spend(min(len(added), link_names - FREE_NAMES))
        if target.startswith(b"/"):
            del trail[1:]
        todo.extend(reversed(added))
    return trail


def find(root: T, path: str | bytes, lookup: Callable[[Trail[T], bytes], T | bytes | None]) -> T | None:
    """What lies at `path`, links followed; None where nothing does, or too many links lead there."""
    try:
        trail = follow(root, split(path), lookup)
    except TooManyLinks:
        return None
    return trail[-1][1] if trail is not None else None

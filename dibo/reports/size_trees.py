"""Where the space goes: files added up by directory, package, flavour and layer, and what is small taken together.

Sizes are of regular files, each inode once. A tree has at most so many nodes, however many files there are: the
largest part is opened first, and what is left of each goes by the name `N smaller`.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from dibo.reports.model import ReportedFile, SizeNode

MOST_NODES: Final = 900
_MOST_PARTS: Final = 60
_SMALLEST: Final = 4000
"""A part that is smaller than one in so many of the whole is not shown for itself."""

_DEEPEST: Final = 24
"""Levels; an image may have thousands."""

Names = Sequence[str]
"""The names from the whole down to a file, without the whole's own."""


@dataclass(slots=True)
class _Growing:
    """A node while files are added."""

    size: int = 0
    files: int = 0
    parts: dict[str, _Growing] = field(default_factory=dict)


def size_tree(
    name: str,
    files: Iterable[ReportedFile],
    names_of: Callable[[ReportedFile], Names],
    *,
    most: int = MOST_NODES,
) -> SizeNode:
    """The tree of `files`, each at `names_of` it, with about `most` nodes. Only regular files count."""
    root = _Growing()
    for file in files:
        if file.kind != "file":
            continue
        node = root
        node.size += file.size
        node.files += 1
        for part in names_of(file):
            node = node.parts.setdefault(part, _Growing())
            node.size += file.size
            node.files += 1
    return _frozen(name, root, _opened(root, most))


def _opened(root: _Growing, most: int) -> set[int]:
    """Nodes whose parts are shown, by their id: the largest first, until there are `most` nodes."""
    smallest = root.size // _SMALLEST
    order = itertools.count()
    waiting = [(-root.size, next(order), root, 0)]
    opened: set[int] = set()
    nodes = 1
    while waiting and nodes < most:
        _, _, node, depth = heapq.heappop(waiting)
        shown = _shown_parts(node, smallest)
        opened.add(id(node))
        nodes += len(shown) + 1
        for _, part in shown:
            if part.parts and depth < _DEEPEST:
                heapq.heappush(waiting, (-part.size, next(order), part, depth + 1))
    return opened


def _shown_parts(node: _Growing, smallest: int) -> list[tuple[str, _Growing]]:
    """Those that are shown for themselves, the largest first."""
    large = [(name, part) for name, part in node.parts.items() if part.size > smallest]
    return sorted(large, key=lambda item: (-item[1].size, item[0]))[:_MOST_PARTS]


def _frozen(name: str, root: _Growing, opened: set[int]) -> SizeNode:
    smallest = root.size // _SMALLEST

    def freeze(name: str, node: _Growing) -> SizeNode:
        shown = _shown_parts(node, smallest) if id(node) in opened else []
        parts = [freeze(part_name, part) for part_name, part in shown]
        size, files = sum(part.size for part in parts), sum(part.files for part in parts)
        if parts and files < node.files:
            left = node.files - files
            parts.append(SizeNode(name=f"{left} smaller", size=node.size - size, files=left))
        return SizeNode(name=name, size=node.size, files=node.files, parts=tuple(parts))

    return freeze(name, root)

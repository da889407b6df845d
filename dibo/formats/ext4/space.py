"""Which blocks are free, once the data of all files has its place.

Runs of free blocks, in order. Behind the last block of the file system lies one run without end: what is taken of it
is what is missing, so callers need not ask whether blocks are left.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class FreeSpace:
    def __init__(self, runs: Iterable[tuple[int, int]], blocks: int) -> None:
        """`runs`: first block, and the one after the last; `blocks` of the file system."""
        self._blocks = blocks
        merged: list[list[int]] = []
        for start, end in sorted(runs):
            if merged and merged[-1][1] == start:
                merged[-1][1] = end
            else:
                merged.append([start, end])
        self._starts = [start for start, _ in merged]
        self._ends = [end for _, end in merged]
        self._beyond = blocks

    @property
    def missing(self) -> int:
        """Blocks that were taken from behind the end."""
        return self._beyond - self._blocks

    def runs(self) -> list[tuple[int, int]]:
        """What is left."""
        return list(zip(self._starts, self._ends, strict=True))

    def beyond(self, count: int) -> int:
        """`count` blocks that do not exist."""
        start = self._beyond
        self._beyond += count
        return start

    def contiguous(self, count: int, near: int = 0) -> int | None:
        """The first of `count` blocks in a row: behind `near` if possible, else anywhere, else None."""
        first = max(0, bisect_right(self._starts, near) - 1)
        for at in range(first, len(self._starts)):
            start = max(self._starts[at], near)
            if start + count <= self._ends[at]:
                self._cut(at, start, count)
                return start
        for at in range(min(first + 1, len(self._starts))):
            start = self._starts[at]
            if start + count <= self._ends[at]:
                self._cut(at, start, count)
                return start
        return None

    def scattered(self, count: int) -> list[tuple[int, int]]:
        """`count` blocks in as many runs (start, count) as it takes, from the first free one on."""
        taken: list[tuple[int, int]] = []
        while count and self._starts:
            start = self._starts[0]
            part = min(count, self._ends[0] - start)
            self._cut(0, start, part)
            taken.append((start, part))
            count -= part
        if count:
            taken.append((self.beyond(count), count))
        return taken

    def one(self) -> int:
        """The first free block."""
        starts = self._starts
        if not starts:
            return self.beyond(1)
        start = starts[0]
        if start + 1 == self._ends[0]:
            del starts[0], self._ends[0]
        else:
            starts[0] = start + 1
        return start

    def _cut(self, at: int, start: int, count: int) -> None:
        """Take `count` blocks from `start` on out of run `at`."""
        end = start + count
        left, right = self._starts[at], self._ends[at]
        if left == start and end == right:
            del self._starts[at], self._ends[at]
        elif left == start:
            self._starts[at] = end
        elif end == right:
            self._ends[at] = start
        else:
            self._ends[at] = start
            self._starts.insert(at + 1, end)
            self._ends.insert(at + 1, right)


def free_runs(gaps: Iterable[tuple[int, int]], cursor: int) -> list[tuple[int, int]]:
    """What of `gaps` lies at `cursor` or behind it."""
    return [(max(start, cursor), end) for start, end in gaps if end > cursor]


def merge(runs: list[tuple[int, int, int]], logical: int, start: int, count: int) -> None:
    """Append `count` blocks of a file, from its block `logical` on, at block `start`; longer runs where they touch."""
    if runs:
        at, begin, length = runs[-1]
        if at + length == logical and begin + length == start:
            runs[-1] = (at, begin, length + count)
            return
    runs.append((logical, start, count))

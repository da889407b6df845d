"""Places for what has no fixed one, once it is known how much there is: and so, how large a file system must be.

After the data come bitmaps and inode tables, then the journal, then single blocks: directories and such. The first two
should lie in one piece; single blocks fill what remains.
"""

from __future__ import annotations

from dataclasses import dataclass

from dibo.formats.ext4.groups import Tables, place_tables
from dibo.formats.ext4.layout import (
    BLOCK,
    GROUP,
    MAX_BLOCKS,
    MAX_INODES_PER_GROUP,
    Ext4Layout,
    Parameters,
    layout_of,
)
from dibo.formats.ext4.space import FreeSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What is to be stored."""

    data_blocks: int
    """Of all files."""
    inodes: int
    """The highest number in use: those of the tree, and the 11 that are reserved."""
    single_blocks: int
    """Of directories, long link targets, extended attributes, extent trees; and one for the resize inode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ext4Plan:
    space: FreeSpace
    tables: Tables
    journal: list[tuple[int, int]]
    """Runs: first block, count."""


def plan(layout: Ext4Layout, free: list[tuple[int, int]], cursor: int, inodes: int) -> Ext4Plan:
    """`free`: runs that data has left; it ends at `cursor`. What does not fit is missing from the plan's space."""
    space = FreeSpace(free, layout.blocks)
    least_inodes = max(layout.least_inodes, inodes * 5 // 4)
    inodes_each = min(layout.inodes_per_group(least_inodes), MAX_INODES_PER_GROUP)
    tables = place_tables(space, layout, inodes_each, cursor)
    journal: list[tuple[int, int]] = []
    if layout.journal_blocks:
        start = space.contiguous(layout.journal_blocks, cursor)
        journal = (
            space.scattered(layout.journal_blocks) if start is None else [(start, layout.journal_blocks)]
        )
    return Ext4Plan(space=space, tables=tables, journal=journal)


def smallest(parameters: Parameters, needs: Needs) -> int:
    """Bytes of a file system that holds `needs`, not smaller than the size in `parameters`. Nearly the smallest: a
    journal grows in steps, and a last group of a few blocks is none."""
    blocks = parameters.size // BLOCK
    while blocks <= MAX_BLOCKS:
        missing = _missing(layout_of(blocks, parameters), needs)
        if not missing:
            break
        blocks += missing
    return blocks * BLOCK


def _missing(layout: Ext4Layout, needs: Needs) -> int:
    """Blocks that a file system of this layout lacks."""
    groups = -(-needs.inodes // MAX_INODES_PER_GROUP)
    if groups > layout.groups:
        return (groups - layout.groups) * GROUP
    left = needs.data_blocks
    free = []
    cursor = 0
    for start, end in layout.gaps():
        part = min(left, end - start)
        left -= part
        if part or not cursor:
            cursor = start + part
        free.append((start + part, end))
    trial = plan(layout, [run for run in free if run[0] < run[1]], cursor, needs.inodes)
    trial.space.scattered(needs.single_blocks)
    return trial.space.missing + left

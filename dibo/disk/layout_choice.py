"""Which layout a disk gets, how large the disk is, and what both look like: `dibo plan --layout`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from dibo.disk.filesystem_strategy import Choice, Way, choose_way
from dibo.layout.merge import complete
from dibo.layout.model import ROOT, Layout, Partition, Sizing
from dibo.layout.parse import Statement
from dibo.layout.placement import place, smallest_disk
from dibo.layout.table import draw
from dibo.settings.settings import DEFAULT_SIZE_SET_BY
from dibo.units import MIB, exact_size

LAYOUT_SET: Final = "the layout"


GivenLayout = Path | Statement
"""A layout of the user's: a file, or what a project file says in its place."""


def chosen(statement: Statement | None, given: GivenLayout | None) -> Layout | None:
    """That which is given, else what the flavours of a stack said together. None makes a bare file system. Raises
    LayoutError."""
    if isinstance(given, Path):
        from dibo.flavours.loader import read_layout

        statement = read_layout(given)
    elif given is not None:
        statement = given
    return complete(statement) if statement is not None else None


def left_out(statement: Statement | None, layout: Layout | None) -> tuple[str, ...]:
    """Partitions for data that flavours lay out in their `statement`, and that a layout given in its place has not, by
    name."""
    if statement is None or layout is None:
        return ()
    names = {partition.name for partition in layout.partitions}
    return tuple(
        stated.name
        for stated in statement.partitions
        if stated.name not in names and _is_for_data(dict(stated.values))
    )


def _is_for_data(values: Mapping[str, Any]) -> bool:
    """Whether a partition holds neither the root nor boot files, which a layout may have elsewhere."""
    return (
        values.get("filesystem") is not None and values.get("content") is None and values.get("mount") != ROOT
    )


def start_size(layout: Layout | None, *, size: int, set_by: str) -> tuple[int, str]:
    """Bytes of the disk and who said so, before hooks of flavours change it: option and variable come before what the
    layout says, and that before dibo's default."""
    if set_by == DEFAULT_SIZE_SET_BY and layout is not None and isinstance(layout.size, int):
        return -(-layout.size // MIB) * MIB, LAYOUT_SET
    return size, set_by


def settled(layout: Layout | None, *, set_by: str) -> Layout | None:
    """The layout once it is known who set the size: a disk is as small as fits only if no size was set."""
    if layout is None or (layout.size is Sizing.FIT and set_by == DEFAULT_SIZE_SET_BY):
        return layout
    return replace(layout, size=None)


def bare_text(*, size: int, set_by: str, filesystem: str, fits: bool) -> str:
    """A disk without partitions, in words."""
    amount = "as small as fits" if fits else f"{exact_size(size)} ({set_by})"
    return (
        f"no partitions: a bare file system, {filesystem}, {amount}\n"
        "The flavour `vm` lays out a disk that boots by itself."
    )


def table(
    layout: Layout, *, size: int, set_by: str, filesystem: str, architecture: str, loop: bool = False
) -> str:
    """The layout on a disk of `size` bytes, drawn. Raises LayoutError where it does not fit."""
    fits = layout.size is Sizing.FIT
    at_least = smallest_disk(layout, {}) if fits else size
    placement = place(layout, size=at_least, identity="", architecture=architecture)

    choices: dict[str, Choice | None] = {
        partition.name: choose_way(
            partition, filesystem=filesystem if partition is layout.root else "", loop=loop
        )
        for partition in layout.partitions
    }

    def made_by(partition: Partition) -> str:
        return str(choices[partition.name] or "")

    size_note = "as small as fits" if fits else f"{exact_size(size)} ({set_by})"
    reasons = [
        f"{name} by {choice}: {choice.reason}"
        for name, choice in choices.items()
        if choice is not None and choice.way is not Way.OWN
    ]
    return "\n".join([draw(layout, placement, size=size_note, made_by=made_by), *reasons])

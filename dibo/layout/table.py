"""A layout drawn as a table, for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dibo.layout.merge import written
from dibo.layout.model import DEFAULT_HEADROOM, Layout, Partition, Sizing
from dibo.layout.placement import PlacedPartition, Placement
from dibo.units import exact_size

_HEADS = (
    "#",
    "name",
    "start",
    "size",
    "type",
    "file system",
    "label",
    "mount",
    "options",
    "flags",
    "made by",
)


def draw(layout: Layout, placement: Placement, *, size: str, made_by: Callable[[Partition], str]) -> str:
    """`placement` may have guesses for partitions that fit: those sizes, and what follows from them, are shown as
    words. `size` says how large the disk is, and who says so."""
    rows: list[Sequence[str]] = [_HEADS]
    known = True
    for placed in placement.partitions:
        rows.append(_row(layout, placed, made_by(placed.wish), known=known))
        known = known and _size_is_known(layout, placed.wish)
    filled = [column for column in range(len(_HEADS)) if any(row[column] for row in rows[1:])]
    widths = {column: max(len(row[column]) for row in rows) for column in filled}
    lines = [f"{layout.table.value}, {size}, partitions at multiples of {exact_size(layout.alignment)}"]
    for row in rows:
        cells = [_cell(row, column, widths[column]) for column in filled]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _size_is_known(layout: Layout, wish: Partition) -> bool:
    return not isinstance(wish.size, Sizing) or (wish.size is Sizing.REST and layout.size is not Sizing.FIT)


def _row(layout: Layout, placed: PlacedPartition, made_by: str, *, known: bool) -> Sequence[str]:
    wish = placed.wish
    if isinstance(wish.size, Sizing) and not _size_is_known(layout, wish):
        size = f"fit + {written(wish.headroom or DEFAULT_HEADROOM)}"
    elif wish.size is Sizing.REST and not known:
        size = "rest"
    else:
        size = exact_size(placed.size)
    return (
        str(placed.number),
        wish.name,
        exact_size(placed.offset) if known else "?",
        size,
        f"{wish.type:#04x}" if isinstance(wish.type, int) else written(wish.type),
        wish.filesystem.value if wish.filesystem else "",
        wish.label,
        str(wish.mount or ""),
        ",".join(wish.options),
        ",".join(sorted(flag.value for flag in wish.flags)),
        made_by,
    )


def _cell(row: Sequence[str], column: int, width: int) -> str:
    return row[column].rjust(width) if column in (0, 2, 3) else row[column].ljust(width)

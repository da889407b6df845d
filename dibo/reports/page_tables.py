"""Tables of a page: whole without a script; the page's script adds sorting, filtering and folding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dibo.reports.markup import Child, Markup, joined, tag
from dibo.units import counted, human_size, human_time

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """`order` is what numbers are sorted by."""

    shown: Child
    order: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[T]):
    """`minor` columns are left out on narrow screens; `first` is the order that a click on a heading brings."""

    title: str
    cell: Callable[[T], Cell | Child]
    numeric: bool = False
    minor: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTable(Generic[T]):
    """`noun` is what a row is; `most` rows are written, and it is said how many are not."""

    name: str
    caption: str
    noun: str
    columns: Sequence[Column[T]]
    rows: Sequence[T] = field(repr=False)
    most: int
    sorted_by: str = ""
    descending: bool = False
    whole: str = "dibo report --json"
    """The command that lists all rows."""

    def markup(self) -> Markup:
        rows = joined(self._row(row) for row in self.rows[: self.most])
        left = len(self.rows) - self.most
        note = (
            tag("p", f"{counted(left, f'more {self.noun}')}: {self.whole} lists all.", class_="more")
            if left > 0
            else None
        )
        table = tag(
            "table",
            tag("caption", self.caption),
            tag("thead", tag("tr", *(self._heading(column) for column in self.columns))),
            tag("tbody", rows),
            id=f"table-{self.name}",
            data_noun=self.noun,
        )
        region = tag("div", table, class_="scroll", role="region", aria_label=self.caption, tabindex="0")
        return tag("div", region, note, class_="table")

    def _heading(self, column: Column[T]) -> Markup:
        order = ("descending" if self.descending else "ascending") if column.title == self.sorted_by else None
        classes = _classes(column)
        return tag("th", column.title, scope="col", class_=classes, aria_sort=order)

    def _row(self, row: T) -> Markup:
        cells = []
        for place, column in enumerate(self.columns):
            cell = column.cell(row)
            if not isinstance(cell, Cell):
                cell = Cell(shown=cell)
            order = None if cell.order is None else f"{cell.order:.15g}"
            if place == 0:
                cells.append(tag("th", cell.shown, scope="row", class_=_classes(column), data_v=order))
            else:
                cells.append(tag("td", cell.shown, class_=_classes(column), data_v=order))
        return tag("tr", *cells)


def _classes(column: Column[T]) -> str | None:
    return " ".join(["n"] * column.numeric + ["minor"] * column.minor) or None


def size_cell(size: int | None) -> Cell:
    return Cell(shown="" if size is None else human_size(size), order=-1 if size is None else size)


def count_cell(count: int | None) -> Cell:
    return Cell(shown="" if count is None else f"{count:,}", order=-1 if count is None else count)


def time_cell(seconds: float | None) -> Cell:
    return Cell(
        shown="" if seconds is None else human_time(float(seconds)), order=-1 if seconds is None else seconds
    )


def bar(part: float, *, kind: str = "") -> Markup:
    """A bar of the length `part`, from 0 to 1."""
    length = f"{100 * max(0.0, min(1.0, part)):.4g}"
    rect = tag("rect", width=length, height="1")
    return tag(
        "svg",
        rect,
        class_=f"bar {kind}".strip(),
        viewBox="0 0 100 1",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def percent(part: int, whole: int) -> str:
    """For people: `12 %`, `0.4 %`."""
    if not whole or not part:
        return "0 %"
    value = 100 * part / whole
    return "< 0.1 %" if value < 0.1 else f"{value:.1f} %" if value < 10 else f"{value:.0f} %"


def code(value: str) -> Markup:
    return tag("code", value)

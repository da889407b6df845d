"""What differs between two images as one HTML page, in the frame of a report: nothing is fetched, nothing executed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from dibo import __version__
from dibo.contents.comparison import Comparison, DirectorySize, FileChange, Pair
from dibo.contents.inventory import InstalledPackage, Inventory, LayerRecord, shown
from dibo.contents.words import (
    ARROW,
    file_words,
    group_words,
    kernel_words,
    partition_words,
    unit_words,
    user_words,
)
from dibo.reports.markup import Child, Markup, joined, tag
from dibo.reports.page_tables import Cell, Column, PageTable, code, size_cell
from dibo.reports.sections import section
from dibo.reports.shell import closed_page, navigation
from dibo.reports.visible import visible
from dibo.units import counted, human_size

LIMIT: Final = 2_000_000
"""Bytes of a page."""
_SCRIPTS: Final = ("text.js", "tables.js", "start_tables.js")
_MOST_ROWS: Final = (5000, 2000, 500, 100, 20, 0)
"""Of a table: the first number with which the page is small enough."""
_WHOLE: Final = "dibo diff --json"
_COUNTED: Final = (
    "packages",
    "files",
    "units",
    "users",
    "groups",
    "kernels",
    "config",
    "system",
    "partitions",
)
T = TypeVar("T")


def diff_page(comparison: Comparison) -> bytes:
    """The page, as UTF-8."""
    page = b""
    for most in _MOST_ROWS:
        page = _page(comparison, most)
        if len(page) <= LIMIT:
            break
    return page


def _page(comparison: Comparison, most: int) -> bytes:
    parts = [part for part in _parts(comparison, most) if part is not None]
    body: list[Child] = [
        tag("a", "Skip to the differences", href="#glance", class_="skip"),
        _header(comparison),
        navigation(joined(parts)),
        tag("main", *parts),
        tag("footer", tag("p", f"Written by dibo {__version__}. Nothing of the images was run.")),
    ]
    names = [visible(inventory.name, most=100) for inventory in (comparison.before, comparison.after)]
    return closed_page(f"{names[0]} and {names[1]}: differences", body, scripts=_SCRIPTS)


def _header(comparison: Comparison) -> Markup:
    title = "Differences" if comparison.differs else "The same contents"
    return tag("header", tag("h1", title), _image("A", comparison.before), _image("B", comparison.after))


def _image(letter: str, inventory: Inventory) -> Markup:
    form = inventory.form if inventory.form == inventory.format else f"{inventory.form}, {inventory.format}"
    facts = [
        f"{letter}: {inventory.name}",
        inventory.os_release.get("PRETTY_NAME", ""),
        inventory.architecture,
        form,
        f"{human_size(inventory.totals.bytes)} in {counted(inventory.totals.files, 'file')}",
    ]
    digest = tag("p", "digest ", code(inventory.digest), class_="digest") if inventory.digest else None
    return tag("div", tag("ul", *(tag("li", fact) for fact in facts if fact), class_="facts"), digest)


def _parts(comparison: Comparison, most: int) -> Iterator[Markup | None]:
    yield _glance(comparison)
    yield _pairs("system", "System", comparison.system, _text_words, most)
    yield _packages(comparison, most)
    yield _pairs("kernels", "Kernels", comparison.kernels, kernel_words, most)
    yield _pairs("units", "Units", comparison.units, unit_words, most)
    yield _pairs("users", "Users", comparison.users, user_words, most)
    yield _pairs("groups", "Groups", comparison.groups, group_words, most)
    yield _pairs("config", "Configuration", comparison.config, _text_words, most)
    yield _pairs("partitions", "Partitions", comparison.partitions, partition_words, most)
    yield _files(comparison, most)
    yield _layers(comparison, most)
    yield _sizes(comparison, most)
    yield _notes(comparison)


def _glance(comparison: Comparison) -> Markup:
    tiles = []
    for name in _COUNTED:
        changes: Sequence[Pair[object] | FileChange] = getattr(comparison, name)
        if changes:
            tiles.append(_tile(name.capitalize(), f"{len(changes):,}", name))
    old, new = comparison.before.totals.bytes, comparison.after.totals.bytes
    if comparison.directories:
        tiles.append(_tile("Size", _growth(new - old), "sizes"))
    if not tiles:
        return section("glance", "At a glance", tag("p", "Nothing that was compared differs."))
    return section("glance", "At a glance", tag("dl", *tiles, class_="tiles"))


def _tile(title: str, value: str, target: str) -> Markup:
    return tag("div", tag("dt", title), tag("dd", tag("a", value, href=f"#{target}")))


def _growth(size: int) -> str:
    return f"{'+' if size >= 0 else '−'}{human_size(abs(size))}"


def _pairs(
    name: str, title: str, pairs: Sequence[Pair[T]], words: Callable[[Pair[T]], str], most: int
) -> Markup | None:
    if not pairs:
        return None
    columns: tuple[Column[Pair[T]], ...] = (
        Column(title="Name", cell=lambda pair: code(pair.name)),
        Column(title="Change", cell=lambda pair: pair.change),
        Column(title="What", cell=words),
    )
    table = PageTable(
        name=name,
        caption=f"{title} that differ",
        noun="row",
        columns=columns,
        rows=pairs,
        most=most,
        whole=_WHOLE,
    )
    return section(name, title, table.markup())


def _text_words(pair: Pair[str]) -> str:
    if pair.before is None or pair.after is None:
        return pair.after or pair.before or ""
    return f"{pair.before} {ARROW} {pair.after}"


def _packages(comparison: Comparison, most: int) -> Markup | None:
    if not comparison.packages:
        return None
    columns: tuple[Column[Pair[InstalledPackage]], ...] = (
        Column(title="Package", cell=lambda pair: code(pair.name)),
        Column(title="Change", cell=lambda pair: pair.change),
        Column(title="A", cell=lambda pair: _version(pair.before)),
        Column(title="B", cell=lambda pair: _version(pair.after)),
        Column(title="Size", cell=_package_growth, numeric=True, minor=True),
    )
    table = PageTable(
        name="packages",
        caption="Packages that differ",
        noun="package",
        columns=columns,
        rows=comparison.packages,
        most=most,
        whole=_WHOLE,
    )
    return section("packages", "Packages", table.markup())


def _version(package: InstalledPackage | None) -> str:
    return "" if package is None else package.version


def _package_growth(pair: Pair[InstalledPackage]) -> Cell:
    growth = (pair.after.size if pair.after else 0) - (pair.before.size if pair.before else 0)
    return Cell(shown=_growth(growth) if growth else "", order=growth)


def _files(comparison: Comparison, most: int) -> Markup | None:
    if not comparison.files:
        return None
    columns: tuple[Column[FileChange], ...] = (
        Column(title="Path", cell=lambda change: code(shown(change.path))),
        Column(title="Change", cell=lambda change: change.change),
        Column(title="What", cell=file_words),
        Column(title="Package", cell=_owner, minor=True),
        Column(title="Growth", cell=_file_growth, numeric=True, minor=True),
    )
    table = PageTable(
        name="files",
        caption="Files that differ",
        noun="file",
        columns=columns,
        rows=comparison.files,
        most=most,
        whole=_WHOLE,
    )
    explained = sum(change.of_package for change in comparison.files)
    note = (
        tag("p", f"{explained:,} of them belong to packages that changed.", class_="note")
        if explained
        else None
    )
    return section("files", "Files", note, table.markup())


def _owner(change: FileChange) -> str:
    record = change.after or change.before
    return record.package if record is not None else ""


def _file_growth(change: FileChange) -> Cell:
    return Cell(shown=_growth(change.growth) if change.growth else "", order=change.growth)


def _layers(comparison: Comparison, most: int) -> Markup | None:
    layers = comparison.layers
    if layers is None or not (layers.before or layers.after):
        return None
    rows = [("A and B", layer) for layer in layers.after[: layers.shared]]
    rows += [("A", layer) for layer in layers.before[layers.shared :]]
    rows += [("B", layer) for layer in layers.after[layers.shared :]]
    columns: tuple[Column[tuple[str, LayerRecord]], ...] = (
        Column(title="Made by", cell=lambda row: row[1].title or row[1].diff_id[:19]),
        Column(title="In", cell=lambda row: row[0]),
        Column(title="Size", cell=lambda row: size_cell(row[1].size), numeric=True),
        Column(title="Digest", cell=lambda row: code(row[1].diff_id), minor=True),
    )
    table = PageTable(
        name="layers",
        caption="Layers, the lowest first",
        noun="layer",
        columns=columns,
        rows=rows,
        most=most,
        whole=_WHOLE,
    )
    return section("layers", "Layers", table.markup())


def _sizes(comparison: Comparison, most: int) -> Markup | None:
    if not comparison.directories:
        return None
    columns: tuple[Column[DirectorySize], ...] = (
        Column(title="Directory", cell=lambda size: code(size.path)),
        Column(title="A", cell=lambda size: size_cell(size.before), numeric=True),
        Column(title="B", cell=lambda size: size_cell(size.after), numeric=True),
        Column(title="Growth", cell=_directory_growth, numeric=True),
    )
    table = PageTable(
        name="sizes",
        caption="Directories whose sizes differ",
        noun="directory",
        columns=columns,
        rows=comparison.directories,
        most=most,
        whole=_WHOLE,
    )
    return section("sizes", "Sizes", table.markup())


def _directory_growth(size: DirectorySize) -> Cell:
    return Cell(shown=_growth(size.after - size.before), order=size.after - size.before)


def _notes(comparison: Comparison) -> Markup | None:
    lines = [
        f"Left out: {counted(count, 'file')} ({reason})" for reason, count in comparison.left_out.items()
    ]
    lines += comparison.notes
    if not lines:
        return None
    return section(
        "notes", "Notes", tag("div", tag("ul", *(tag("li", line) for line in lines)), class_="notes")
    )

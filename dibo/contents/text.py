"""A comparison as text for people: a line for each difference, `+` added, `-` removed, `~` changed.

Files of packages that changed are counted, not listed, and so is what is in a directory that was added or removed,
unless each file is asked for. Of long lists, the first rows are shown. Texts of images go out without controls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from dibo.contents.comparison import STORAGE, Comparison, FileChange, Pair
from dibo.contents.inventory import InstalledPackage, shown
from dibo.contents.words import (
    ARROW,
    file_words,
    group_words,
    kernel_words,
    partition_words,
    unit_words,
    user_words,
)
from dibo.system.terminal import cells, without_controls
from dibo.units import counted, human_size

_MARKS: Final = {"added": "+", "removed": "-", "changed": "~"}
_WIDEST: Final = 48
_MOST_DIRECTORIES: Final = 12
_MOST_ROWS: Final = 60
"""Of a section."""
_FEW: Final = 3
"""So many files in a directory that is new are listed."""
T = TypeVar("T")
Rows = list[tuple[str, str, str]]
"""Mark, name, words."""


def comparison_text(
    comparison: Comparison, *, summary: bool = False, files: bool = False, complete: bool = False
) -> str:
    """Empty where nothing differs. `summary`: counts alone; `files`: list each file; `complete`: leave out no row."""
    lines = [*_summary(comparison)] if summary else [*_sections(comparison, files=files, complete=complete)]
    if not summary and not comparison.differs and not set(comparison.sections) <= set(STORAGE):
        lines = []
    lines += [f"left out: {_left_out(comparison)}"] if comparison.left_out else []
    lines += [f"note: {_line(note)}" for note in comparison.notes]
    return "\n".join(lines)


def _left_out(comparison: Comparison) -> str:
    return ", ".join(f"{counted(count, 'file')} ({reason})" for reason, count in comparison.left_out.items())


def _line(text: str) -> str:
    """On one line, without orders to the terminal."""
    return without_controls(text).replace("\n", "\\n").replace("\t", "\\t")


def _summary(comparison: Comparison) -> Iterator[str]:
    for section in comparison.sections:
        changes: Sequence[Pair[object] | FileChange] = getattr(comparison, section, None) or ()
        if section in STORAGE or not changes:
            continue
        counts = {word: sum(change.change == word for change in changes) for word in _MARKS}
        yield f"{section}: " + ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    yield from _layers(comparison)
    if "sizes" in comparison.sections and comparison.differs:
        yield _total(comparison)


def _total(comparison: Comparison) -> str:
    old, new = comparison.before.totals, comparison.after.totals
    sizes = (
        f"size: {human_size(old.bytes)} {ARROW} {human_size(new.bytes)} ({_growth(new.bytes - old.bytes)})"
    )
    if old.stored and new.stored:
        sizes += f", stored {human_size(old.stored)} {ARROW} {human_size(new.stored)}"
    return f"{sizes}, {old.entries} {ARROW} {new.entries} files"


def _growth(size: int) -> str:
    return f"{'+' if size >= 0 else '-'}{human_size(abs(size))}"


def _sections(comparison: Comparison, *, files: bool, complete: bool) -> Iterator[str]:
    sections: tuple[tuple[str, Rows], ...] = (
        ("system", _rows(comparison.system, _text_words)),
        ("packages", _rows(comparison.packages, _package_words)),
        ("kernels", _rows(comparison.kernels, kernel_words)),
        ("units", _rows(comparison.units, unit_words)),
        ("users", _rows(comparison.users, user_words)),
        ("groups", _rows(comparison.groups, group_words)),
        ("config", _rows(comparison.config, _text_words)),
        ("partitions", _rows(comparison.partitions, partition_words)),
        ("files", _files(comparison, complete=files)),
    )
    for title, rows in sections:
        if rows:
            is_whole = complete or (files and title == "files")
            yield f"{title}:"
            yield from _table(rows if is_whole else _first(rows))
    yield from _layers(comparison)
    if comparison.directories:
        yield _total(comparison)
        yield from _table(
            [
                (" ", size.path, f"{_growth(size.after - size.before)}, now {human_size(size.after)}")
                for size in comparison.directories[:_MOST_DIRECTORIES]
            ]
        )


def _first(rows: Rows) -> Rows:
    """The first rows, how many more there are, and the row at the end that counts others."""
    counts = [row for row in rows[-1:] if row[0] == " "]
    more = len(rows) - len(counts) - _MOST_ROWS
    if more <= 0:
        return rows
    return [*rows[:_MOST_ROWS], (" ", f"… and {more} more: --all lists them", ""), *counts]


def _rows(pairs: Iterable[Pair[T]], words: Callable[[Pair[T]], str]) -> Rows:
    return [(_MARKS[pair.change], pair.name, words(pair)) for pair in pairs]


def _text_words(pair: Pair[str]) -> str:
    if pair.before is None or pair.after is None:
        return pair.after or pair.before or ""
    return f"{pair.before} {ARROW} {pair.after}"


def _package_words(pair: Pair[InstalledPackage]) -> str:
    if pair.before is None or pair.after is None:
        package = pair.after or pair.before
        return package.version if package is not None else ""
    return f"{pair.before.version} {ARROW} {pair.after.version}"


def file_lines(changes: Sequence[FileChange]) -> list[str]:
    """A line for each file; what is in a directory that was added or removed is counted."""
    return [*_table(_collapsed(changes))]


def _files(comparison: Comparison, *, complete: bool) -> Rows:
    if complete:
        return [_file(change) for change in comparison.files]
    listed = [change for change in comparison.files if not change.of_package]
    rows = _collapsed(listed)
    more = len(comparison.files) - len(listed)
    if more:
        rows.append((" ", f"and {counted(more, 'file')} of packages that changed: --files lists them", ""))
    return rows


def _collapsed(listed: Sequence[FileChange]) -> Rows:
    rows: Rows = []
    at = 0
    while at < len(listed):
        change, at = listed[at], at + 1
        end = at
        while end < len(listed) and _is_within(listed[end], change):
            end += 1
        if end - at < _FEW:
            rows.append(_file(change))
            continue
        within, at = listed[at:end], end
        grown = human_size(abs(sum(below.growth for below in within)))
        mark, name, words = _file(change)
        rows.append((mark, name, f"{words} with {counted(len(within), 'file')}, {grown}"))
    return rows


def _file(change: FileChange) -> tuple[str, str, str]:
    return _MARKS[change.change], shown(change.path), file_words(change)


def _is_within(below: FileChange, directory: FileChange) -> bool:
    """Whether it is in a directory that was added, or removed, and so was all in it."""
    record = directory.after or directory.before
    return (
        directory.change != "changed"
        and record is not None
        and record.kind == "directory"
        and below.change == directory.change
        and below.path.startswith(directory.path + b"/")
    )


def _layers(comparison: Comparison) -> Iterator[str]:
    layers = comparison.layers
    if layers is None or not (layers.before or layers.after):
        return
    if not comparison.differs and not set(comparison.sections) <= set(STORAGE):
        return
    yield (
        f"layers: {layers.shared} shared, {len(layers.before) - layers.shared} only in A,"
        f" {len(layers.after) - layers.shared} only in B"
    )
    for mark, side in (("-", layers.before), ("+", layers.after)):
        rows = [
            (mark, layer.title or layer.diff_id[:19], human_size(layer.size))
            for layer in side[layers.shared :]
        ]
        yield from _table(rows)


def _table(rows: Rows) -> Iterator[str]:
    cleaned = [(mark, _line(name), _line(words)) for mark, name, words in rows]
    width = min(_WIDEST, max((cells(name) for _, name, words in cleaned if words), default=0))
    for mark, name, words in cleaned:
        padding = " " * max(0, width - cells(name))
        yield f"  {mark} {name}{padding}  {words}".rstrip()

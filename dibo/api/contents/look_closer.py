"""Where two artefacts of one recipe differ, for `dibo verify`: files of disks and of directories, one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dibo.contents.compare import CompareOptions, compare
from dibo.contents.comparison import FileChange
from dibo.contents.read import OpenedContents, directory_contents, disk_contents
from dibo.contents.text import file_lines
from dibo.errors import CommandFailed, DiskImageError
from dibo.inspect.compare import first_difference, identifiers
from dibo.inspect.open_image import opened
from dibo.system import process
from dibo.system.report import Report
from dibo.system.workspace import Run

_MOST_FILES: Final = 20
_MOST_BYTES: Final = 64 << 20
_DISKS: Final = ("raw", "qcow2", "vmdk", "vhdx", "vhd", "vdi")


def directory_changes(expected: Path, actual: Path) -> tuple[FileChange, ...]:
    """Times do not count: some types give files the time at which they were written. Owners, permissions and devices do
    where both directories were made by root, or neither: an ordinary user owns all. Raises ImageError."""
    alike = (expected.stat().st_uid == 0) == (actual.stat().st_uid == 0)
    options = CompareOptions(sections=("files",), noise=True, owners=alike)
    return compare(directory_contents(expected), directory_contents(actual), options).files


def look_closer(expected: Path, actual: Path, kind: str, run: Run, report: Report) -> Iterator[str]:
    """The files that differ between two artefacts of the type `kind`; what diffoscope says of these, where it is
    installed."""
    if expected.is_dir() or actual.is_dir():
        if expected.is_dir() and actual.is_dir():
            yield from _listed(directory_changes(expected, actual))
        return
    if first_difference(expected, actual) is None:
        return
    if kind not in _DISKS:
        yield from _diffoscope(expected, actual, report)
        return
    before, after = run.subdirectory("then"), run.subdirectory("now")
    try:
        with (
            opened(expected, run=run, report=report) as (expected_disk, *_),
            opened(actual, run=run, report=report) as (actual_disk, *_),
        ):
            yield from (f"  {line}" for line in identifiers(expected_disk, actual_disk))
            sides = (
                disk_contents(expected_disk, name=str(expected)),
                disk_contents(actual_disk, name=str(actual)),
            )
            changes = compare(*sides, CompareOptions(sections=("files",), noise=True, times=True)).files
            _extract(changes[:_MOST_FILES], sides, (before, after))
    except DiskImageError as error:
        report.warn(f"{expected.name} cannot be looked into: {error.message}")
        return
    yield from _listed(changes)
    if not changes:
        yield "  the files are the same: it is where they lie, or what is beside them"
    yield from _diffoscope(before, after, report)


def _extract(
    changes: tuple[FileChange, ...],
    sides: tuple[OpenedContents, OpenedContents],
    directories: tuple[Path, Path],
) -> None:
    """Have the files in two directories, for a program that compares these."""
    for number, change in enumerate(changes):
        name = f"{number:02}-{change.path.rpartition(b'/')[2].decode(errors='replace')}"
        for contents, directory in zip(sides, directories, strict=True):
            contents.extract(change.path, directory / name, most=_MOST_BYTES)


def _listed(changes: tuple[FileChange, ...]) -> Iterator[str]:
    lines = file_lines(changes)
    yield from itertools.islice(lines, _MOST_FILES)
    if len(lines) > _MOST_FILES:
        yield f"  and {len(lines) - _MOST_FILES} more"


def _diffoscope(expected: Path, actual: Path, report: Report) -> Iterator[str]:
    if process.find("diffoscope") is None:
        report.say("diffoscope, which would show more, is not installed")
        return
    try:
        done = process.run(
            ["diffoscope", "--text", "-", str(expected), str(actual)], capture=True, check=False
        )
    except CommandFailed as error:
        report.warn(error.message)
        return
    yield done.stdout.rstrip()

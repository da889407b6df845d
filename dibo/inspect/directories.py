"""Where two directories differ, as two runs made them: `web.directory`, `web.microvm`.

Times are not compared: some types give files the time at which they were written. Owners and permissions are compared
where both directories were made by root, or neither: an ordinary user owns all, and has no devices and set-id bits.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dibo.inspect.compare import first_difference

_KINDS: Final = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}
_DEVICES: Final = (stat.S_IFCHR, stat.S_IFBLK)


def differences(expected: Path, actual: Path) -> Iterator[str]:
    """Lines `/PATH: change` for whatever differs, or is in one directory alone, in the order of their paths. No link in
    a directory is followed. Raises OSError."""
    alike = (expected.stat().st_uid == 0) == (actual.stat().st_uid == 0)
    names = sorted({*_names(expected), *_names(actual)}, reverse=True)
    while names:
        name = names.pop()
        first, second = _status(expected / name), _status(actual / name)
        if first is None or second is None:
            lone = first or second
            if lone is not None and (alike or stat.S_IFMT(lone.st_mode) not in _DEVICES):
                yield f"{_shown(name)}: {'is gone' if second is None else 'is new'}"
            continue
        changes = [*_changes(expected / name, actual / name, first, second)]
        if alike:
            changes += _attributes(first, second)
        if changes:
            yield f"{_shown(name)}: {', '.join(changes)}"
        if stat.S_ISDIR(first.st_mode) and stat.S_ISDIR(second.st_mode):
            below = sorted({*_names(expected / name), *_names(actual / name)}, reverse=True)
            names += [f"{name}/{child}" for child in below]


def _shown(name: str) -> str:
    return f"/{os.fsencode(name).decode(errors='backslashreplace')}"


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _changes(expected: Path, actual: Path, first: os.stat_result, second: os.stat_result) -> Iterator[str]:
    kind, made = stat.S_IFMT(first.st_mode), stat.S_IFMT(second.st_mode)
    if kind != made:
        yield f"{_KINDS[kind]} and {_KINDS[made]}"
    elif kind == stat.S_IFREG and first_difference(expected, actual) is not None:
        same = first.st_size == second.st_size
        yield "other bytes" if same else f"{first.st_size} and {second.st_size} bytes"
    elif kind == stat.S_IFLNK and expected.readlink() != actual.readlink():
        yield "another target"
    elif kind in _DEVICES and first.st_rdev != second.st_rdev:
        yield "another device"


def _attributes(first: os.stat_result, second: os.stat_result) -> Iterator[str]:
    if stat.S_IFMT(first.st_mode) == stat.S_IFMT(second.st_mode) and first.st_mode != second.st_mode:
        yield "mode"
    if first.st_uid != second.st_uid:
        yield "owner"
    if first.st_gid != second.st_gid:
        yield "group"

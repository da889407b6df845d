"""Artefacts that stand: a former command made the same ones under these names, and they have not changed since.

Of each set of artefacts, the cache directory keeps what they were made of, and how their files look (stat(2)): device,
inode, size, and the times of their content and of the inode itself. A file that was replaced, written to, touched or
copied looks different, and is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import dibo


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingArtefacts:
    """The record of some artefacts. `directory` is one of the cache; `ingredients` all that decides on their bytes, as
    JSON has it; `paths` are those of artefacts, and of the records beside them."""

    directory: Path
    ingredients: Mapping[str, Any]
    paths: Sequence[Path]

    def stand(self) -> bool:
        """Whether all are there as they were made."""
        try:
            return bool(_read(self._path) == self._document())
        except (OSError, ValueError):
            return False

    def save(self) -> None:
        """Keep how they look now. What cannot be kept only costs time later."""
        with contextlib.suppress(OSError):
            self.directory.mkdir(mode=0o700, exist_ok=True)
            part = self._path.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps(self._document()))
            part.replace(self._path)

    @property
    def _path(self) -> Path:
        return self.directory / f"{name_of_outputs(self.paths)}.json"

    def _document(self) -> dict[str, Any]:
        text = json.dumps([self.ingredients, _program()], sort_keys=True)
        looks = {os.fsencode(path).hex(): _look(path) for path in _files(self.paths)}
        return {"ingredients": hashlib.sha256(text.encode(errors="replace")).hexdigest(), "files": looks}


def name_of_outputs(paths: Sequence[Path]) -> str:
    """What files are known by in the cache directory, wherever the command stands."""
    names = "\0".join(str(path.absolute()) for path in paths)
    return hashlib.sha256(os.fsencode(names)).hexdigest()


def is_current(record: Path) -> bool:
    """Whether the artefacts that a file of the cache directory is a record of are there as they were made."""
    try:
        looks = _read(record)["files"]
        paths = {name: Path(os.fsdecode(bytes.fromhex(name))) for name in looks}
        return bool(looks) and all(_look(paths[name]) == look for name, look in looks.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _read(record: Path) -> Any:
    """What a record says. Raises OSError, and ValueError for what is no record: a link, a FIFO, a device."""
    fd = os.open(record, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("not a plain file")
        return json.load(file)


def _files(paths: Sequence[Path]) -> list[Path]:
    """All of `paths`, and what is in those that are directories; absolute ones."""
    tops = [path.absolute() for path in paths]
    return [path for top in tops for path in (top, *(sorted(top.rglob("*")) if top.is_dir() else ()))]


def _look(path: Path) -> list[int]:
    status = path.lstat()
    return [
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    ]


@cache
def _program() -> list[Any]:
    """Which dibo this is: its version, and how its files look, for those who change it."""
    top = Path(dibo.__file__).parent
    files = [(path, path.stat()) for path in top.rglob("*.py")]
    newest = max(status.st_mtime_ns for _, status in files)
    return [dibo.__version__, newest, len(files), sum(status.st_size for _, status in files)]

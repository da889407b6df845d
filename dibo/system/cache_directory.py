"""What lies in dibo's cache directory (dibo.system.workspace), with sizes and times, for those who clean it.

Reading changes nothing, so that it works on a disk that is full or only read. What is removed is one of the things that
were read: nothing else in the directory is dibo's to take, and no symbolic link is followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from dibo.errors import UsageError
from dibo.system.exclusive import is_held
from dibo.system.workspace import TAG, remove_tree, require_trusted, user_name

_BLOCK: Final = 512
"""Bytes of a block of st_blocks (stat(3type))."""
_DOWNLOAD: Final = re.compile(r"sha256-[0-9a-f]{64}-(?P<name>.+)")
"""A base as dibo.build.bases.tarball keeps it."""


_NOTES: Final = ("lists", "hashes", "keys")
_OF_ARCHIVES: Final = ("last", "lists", "locks", "resolved", "states")


class CacheKind(Enum):
    """Kinds of things in a cache directory."""

    RUNS = "runs"
    LOCKS = "locks"
    DOWNLOADS = "downloads"
    NOTES = "notes"
    """Lists, signatures and keys that say which download is the newest, and what was tried of this machine."""
    LOGS = "logs"
    KEYS = "keys"
    KITS = "kits"
    ARTEFACTS = "artefacts"
    """Records of how artefacts were made."""
    UNPACKED = "unpacked"
    """Layers that were read before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheItem:
    """A file, or a directory with all that is in it. `size` is what it takes on the disk, `used` when it was last read
    or written, in seconds since 1970, as far as the file system notes that."""

    kind: CacheKind
    path: Path
    size: int
    used: float
    held: bool = False
    """Whether a process that runs uses it."""
    outdated: bool = False
    """Whether what it is a record of is gone or changed."""

    @property
    def name(self) -> str:
        """Of a download, the name that it has on its server; of a key or a log, the key."""
        match = _DOWNLOAD.fullmatch(self.path.name)
        if match is not None:
            return match["name"]
        return self.path.stem if self.kind in (CacheKind.KEYS, CacheKind.LOGS) else self.path.name


def check_directory(root: Path) -> bool:
    """Whether there is a cache directory. Raises UsageError for what is none, OutputError for one of another user."""
    if not os.path.lexists(root):
        return False
    if not root.is_dir():
        raise UsageError(
            f"{root} is no directory", hint="--cache-dir or IMG_PATH names dibo's cache directory"
        )
    require_trusted(root, owners=(os.geteuid(), 0))
    if not (root / TAG).is_file():
        raise UsageError(
            f"{root} is no cache directory of dibo: it has no {TAG}",
            hint="nothing was removed; --cache-dir or IMG_PATH names the right one",
        )
    return True


def survey(root: Path) -> tuple[CacheItem, ...]:
    """All that may be removed from a cache directory, in the order of its paths; what cannot be read is left out."""
    items: list[CacheItem] = []
    for kind, directory in (
        (CacheKind.LOCKS, "locks"),
        (CacheKind.LOGS, "logs"),
        (CacheKind.KEYS, "keys"),
        (CacheKind.DOWNLOADS, "bases"),
        (CacheKind.DOWNLOADS, "archives/packages"),
        (CacheKind.DOWNLOADS, "fetched"),
        (CacheKind.RUNS, "runs"),
        (CacheKind.ARTEFACTS, "artefacts"),
        (CacheKind.UNPACKED, "unpacked"),
    ):
        items += (_item(kind, path) for path in _entries(root / directory))
    for directory in (*(f"bases/{name}" for name in _NOTES), *(f"archives/{name}" for name in _OF_ARCHIVES)):
        items += (_item(CacheKind.NOTES, path) for path in _entries(root / directory))
    items += (_item(CacheKind.NOTES, path) for path in (root / "kvm.json",) if path.is_file())
    items += (_item(CacheKind.KITS, path) for path in (root / "kit",) if _is_real_directory(path))
    notes = {root / "bases" / name for name in _NOTES}
    return tuple(sorted((item for item in items if item.path not in notes), key=lambda item: item.path))


def remove(item: CacheItem) -> None:
    """Raises OSError, in which case parts of a directory may be gone."""
    if not _is_real_directory(item.path):
        item.path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(item.path)
    except PermissionError:  # files of subordinate ids
        remove_tree(item.path)
        if item.path.exists():
            raise


def reason(error: OSError, path: Path) -> str:
    """Why something cannot be removed, for people."""
    if error.errno in (errno.EACCES, errno.EPERM):
        with contextlib.suppress(OSError):
            owner = path.parent.lstat().st_uid
            if owner != os.geteuid():
                return f"the directory belongs to {user_name(owner)}"
    return error.strerror or str(error)


def _entries(directory: Path) -> Iterator[Path]:
    if _is_real_directory(directory):
        with contextlib.suppress(OSError):
            yield from sorted(directory.iterdir())


def _is_real_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _item(kind: CacheKind, path: Path) -> CacheItem:
    size, used = _room(path)
    lock = path / "lock" if kind is CacheKind.RUNS else path
    held = kind in (CacheKind.RUNS, CacheKind.LOCKS) and is_held(lock)
    return CacheItem(kind=kind, path=path, size=size, used=used, held=held)


def _room(path: Path) -> tuple[int, float]:
    """What a file, or a directory with all in it, takes on disk, and its newest time. Hard links count once."""
    size, used, seen = 0, 0.0, set()
    for entry in _below(path):
        try:
            state = entry.lstat()
        except OSError:
            continue
        if state.st_nlink > 1 and not stat.S_ISDIR(state.st_mode):
            if (state.st_dev, state.st_ino) in seen:
                continue
            seen.add((state.st_dev, state.st_ino))
        size += state.st_blocks * _BLOCK
        if not stat.S_ISDIR(state.st_mode):  # reading a directory here sets its time
            used = max(used, state.st_mtime, state.st_atime)
        else:
            used = max(used, state.st_mtime)
    return size, used


def _below(path: Path) -> Iterator[Path]:
    yield path
    if _is_real_directory(path):
        for directory, directories, files in os.walk(path):
            yield from (Path(directory) / name for name in (*directories, *files))

"""One process at a time does a thing that has a name: builds the layer of a key, say. Others wait, and say for whom.

A file of the name is locked (flock(2)), so that its holder releases it when it ends, however it ends. The file is
removed before that; a process that waited for a removed file takes a new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from dibo.system.report import Say

_PRIVATE: Final = 0o700
_MOST: Final = 300
"""Characters that are shown of another process's command."""


@contextlib.contextmanager
def exclusive(directory: Path, name: str, *, on_wait: Say) -> Iterator[bool]:
    """Hold `name` of `directory`; whether another process held it before. `on_wait` gets the holder, as `process 17
    (command)`, once. May raise OSError."""
    directory.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    path, waited = directory / name, False
    while True:
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not waited:
                    on_wait(_holder(file))
                waited = True
                fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(file, path):
                continue
            file.truncate(0)
            file.write(
                f"process {os.getpid()} ({shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:_MOST]})"
            )
            file.flush()
            try:
                yield waited
            finally:
                path.unlink(missing_ok=True)
            return


@contextlib.contextmanager
def shared(path: Path) -> Iterator[None]:
    """Use, together with others, what `path` stands for; waits while a process holds it alone. May raise OSError."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Have what `path` stands for alone; whether that is so, since others may use it. Where the file cannot be written
    to, it is locked all the same. May raise OSError."""
    with _lockable(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def is_held(path: Path) -> bool:
    """Whether a process holds the lock that a file is; one that cannot be opened counts as held."""
    try:
        with path.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _lockable(path: Path) -> IO[str]:
    try:
        return path.open("a")
    except OSError:
        return path.open("r")


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether `path` is still the file that is open."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _holder(file: IO[str]) -> str:
    file.seek(0)
    return " ".join(file.read(2 * _MOST).split()) or "another process"

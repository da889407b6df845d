"""The door to dibo's own directories: the cache, and one directory for each run.

    ~/.cache/dibo/            IMG_PATH; tagged with CACHEDIR.TAG (https://bford.info/cachedir/)
        bases/                what bases were downloaded, by digest; beside it, fetched/: what was for hooks
        logs/                 the log of each failed step; beside it, unpacked/: layers that were read before
        keys/                 ingredients of layers, by key; beside it, archives/: of packages (dibo.build.archives)
        runs/ID/              everything temporary of one run
            lock              held with flock(2) while the run lives
            journal           what the run made elsewhere: one JSON array [kind, value] a line

All of it is for its user alone: 0700 and 0600.

A run that is killed with SIGKILL cannot clean up. Its lock is free then, so the next run does it: the journal says
which half-written files and containers it left, and its processes carry DIBO_RUN=ID in their environment. What cannot
be removed now, at a daemon that does not answer, waits for another run.

A journal is believed only as far as a run of this user can have written it: the cache and the run belong to the user,
no other user can write there, and each name has the form that the run with that identity gives. So a prepared cache
directory of another user removes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final

from dibo.errors import DiboError, OutputError
from dibo.system import disk_space, process
from dibo.system.signals import uninterrupted

_PRIVATE: Final = 0o700
_IN_MEMORY: Final = ("tmpfs", "ramfs")
_OTHERS_MAY_WRITE: Final = 0o022
TAG: Final = "CACHEDIR.TAG"
_TAG_TEXT = (
    "Signature: 8a477f597d28d172789f06886806bc55\n# This directory is dibo's cache; it may be deleted.\n"
)

Sweeper = Callable[[str], None]
"""Removes what a run that was killed left with an engine, by its name."""


class Workspace:
    """The cache directory, made and tagged when it is missing. Raises OutputError where it cannot be made, or
    belongs to another user."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            _make_private(root)
            require_trusted(root, owners=(os.geteuid(), 0))
            for name in ("bases", "logs", "runs", "keys", "archives", "fetched", "unpacked"):
                _make_private(root / name)
                require_trusted(root / name, owners=(os.geteuid(),))
            tag = root / TAG
            if not tag.exists():
                tag.write_text(_TAG_TEXT)
        except OSError as error:
            raise _unusable(root, error) from error

    @property
    def bases(self) -> Path:
        return self.root / "bases"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def locks(self) -> Path:
        """A file for each layer that is being built (dibo.system.exclusive)."""
        return self.root / "locks"

    @property
    def store_lock(self) -> Path:
        """Shared by all that use layers of an engine's store, held alone while some are removed."""
        return self.root / "store.lock"

    @contextlib.contextmanager
    def run(self, *, sweepers: Mapping[str, Sweeper] | None = None) -> Iterator[Run]:
        """One run of dibo: first cleans up after runs that were killed, at the end after itself. `sweepers` remove
        what a journal names that is elsewhere, by its kind. Raises OutputError."""
        identity = f"{time.strftime('%Y%m%d%H%M%S')}-{secrets.token_hex(4)}"
        directory = self.root / "runs" / identity
        run = Run(identity, directory)
        around = os.environ.get("DIBO_RUN")
        with contextlib.ExitStack() as stack:
            try:  # a signal may come as soon as the directory is there
                try:
                    stack.enter_context(self._begin(directory, sweepers or {}))
                except OSError as error:
                    raise _unusable(self.root, error) from error
                os.environ["DIBO_RUN"] = identity
                yield run
            finally:
                if around is not None:  # what the run around this one starts from now on is its own
                    os.environ["DIBO_RUN"] = around
                with uninterrupted():
                    if run.finish() and not run.left:
                        remove_tree(directory)

    def _begin(self, directory: Path, sweepers: Mapping[str, Sweeper]) -> IO[str]:
        """Make a run's directory; its lock, held."""
        with (self.root / "runs.lock").open("w") as all_runs:  # nobody sweeps a run that is just being made
            fcntl.flock(all_runs, fcntl.LOCK_EX)
            self._sweep(sweepers)
            directory.mkdir(mode=_PRIVATE)
            lock = (directory / "lock").open("w")
            fcntl.flock(lock, fcntl.LOCK_EX)
            return lock

    def _sweep(self, sweepers: Mapping[str, Sweeper]) -> None:
        for directory in sorted((self.root / "runs").iterdir()):
            if not _is_own(directory, stat.S_ISDIR):
                continue
            with contextlib.suppress(OSError), (directory / "lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _kill_run(directory.name)
                undone = [
                    _undo(kind, value, sweepers)
                    for kind, value in _journal(directory)
                    if _is_of_run(directory.name, kind, value)
                ]
                if all(undone):
                    remove_tree(directory)


class Run:
    """One run's directory and its journal of things made elsewhere."""

    def __init__(self, identity: str, directory: Path) -> None:
        self.identity = identity
        self.directory = directory
        self.left = False
        """Whether something that the journal names could not be removed now."""
        self._count = 0

    def leave_to_next(self) -> None:
        self.left = True

    def finish(self) -> bool:
        """Remove the files and trees that were not removed where they were used; whether all of them are gone."""
        undone = [_undo(kind, value, {}) for kind, value in _journal(self.directory)]
        return all(undone)

    def subdirectory(self, name: str) -> Path:
        """A new empty directory that goes with the run."""
        self._count += 1
        path = self.directory / f"{self._count:02}-{name}"
        path.mkdir()
        return path

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A directory in the system's temporary one, which processes of other ids may enter: the user's cache may
        lie in a home that is closed to them."""
        self._count += 1
        path = Path(tempfile.gettempdir()) / f"dibo-{self.identity}-{self._count}"
        self._note("tree", str(path))
        path.mkdir()
        path.chmod(0o755)
        try:
            yield path
        finally:
            remove_tree(path)

    @contextlib.contextmanager
    def in_memory(self) -> Iterator[Path]:
        """A directory on a tmpfs, for this user alone, for what may be on no disk. Raises OutputError."""
        self._count += 1
        path = memory_directory() / f"dibo-{self.identity}-{self._count}"
        self._note("tree", str(path))
        try:
            path.mkdir(mode=_PRIVATE)
        except OSError as error:
            raise OutputError(f"cannot make {path}: {error.strerror}") from error
        try:
            yield path
        finally:
            remove_tree(path)

    def container(self) -> str:
        """A name for a new container; the journal has it before the engine does."""
        self._count += 1
        name = f"dibo-{self.identity}-{self._count}"
        self._note("container", name)
        return name

    def docker(self, host: str) -> str:
        """A name for what is made at a docker daemon: a container, a volume, an image that is not finished."""
        self._count += 1
        name = f"dibo-{self.identity}-{self._count}"
        self._note("docker", f"{host} {name}")
        return name

    def loop_device(self, file: Path) -> None:
        """A loop device that stands for `file` is about to be made."""
        self._note("loop", str(file))

    @contextlib.contextmanager
    def output(self, path: Path) -> Iterator[Path]:
        """A place beside `path` to write to; renamed to `path` when all went well, else removed.

        Raises OutputError when the directory is missing or not writable.
        """
        path = path.absolute()
        with self._part(path, f".{path.name}.{self.identity}.part") as part:
            yield part
            part.replace(path)

    @contextlib.contextmanager
    def beside(self, path: Path) -> Iterator[Path]:
        """A file beside `path`, for a while; it may be renamed meanwhile. Raises OutputError."""
        self._count += 1
        path = path.absolute()
        with self._part(path, f".{path.name}.{self.identity}-{self._count}.part") as part:
            yield part

    @contextlib.contextmanager
    def _part(self, path: Path, name: str) -> Iterator[Path]:
        part = path.with_name(name)
        self._note("file", str(part))
        try:
            part.touch(exist_ok=False)
        except OSError as error:
            raise OutputError(
                f"cannot write {path}: {disk_space.reason(error, path)}",
                hint="name a directory that exists and that you may write to with -o",
            ) from error
        try:
            yield part
        except OSError as error:
            raise OutputError(f"cannot write {path}: {disk_space.reason(error, path)}") from error
        except OutputError as error:
            if error.full:  # told while the part is there: when it is gone, so is what filled the disk
                error.message, error.full = f"{error.message}: {disk_space.describe([path])}", False
            raise
        finally:
            part.unlink(missing_ok=True)

    def _note(self, kind: str, value: str) -> None:
        with (self.directory / "journal").open("a") as journal:
            journal.write(json.dumps([kind, value]) + "\n")


def memory_directory() -> Path:
    """Where files can be that are on no disk: XDG_RUNTIME_DIR, else /dev/shm. Raises OutputError."""
    candidates = [Path(own)] if (own := os.environ.get("XDG_RUNTIME_DIR")) else []
    for directory in (*candidates, Path("/dev/shm")):  # noqa: S108 (names there are the run's, mode 0700)
        if disk_space.mount_of(directory)[1] in _IN_MEMORY and os.access(directory, os.W_OK | os.X_OK):
            return directory
    raise OutputError(
        "no file system in memory can be written to, so there is no safe place for secrets",
        hint="set XDG_RUNTIME_DIR to a directory on a tmpfs",
    )


def _undo(kind: str, value: str, sweepers: Mapping[str, Sweeper]) -> bool:
    """Remove something that a journal names; whether that is done."""
    if kind in ("file", "tree"):
        path = Path(value)
        with contextlib.suppress(
            OSError, ValueError
        ):  # no name of a file: it must not stop all runs that follow
            remove_tree(path) if kind == "tree" or path.is_dir() else path.unlink(missing_ok=True)
        return not os.path.lexists(path)
    if kind in sweepers:
        try:
            sweepers[kind](value)
        except DiboError:
            return False
    return True


def _journal(directory: Path) -> list[tuple[str, str]]:
    """The records of a journal; one that was cut off, or is none, is left out."""
    path = directory / "journal"
    if not _is_own(path, stat.S_ISREG):
        return []
    records = []
    for line in path.read_bytes().split(b"\n"):
        with contextlib.suppress(ValueError, TypeError):
            kind, value = json.loads(line)
            records.append((str(kind), str(value)))
    return records


def _is_of_run(identity: str, kind: str, value: str) -> bool:
    """Whether the run can have noted this: everything that a run makes elsewhere is named after the run."""
    name = Path(value).name
    pattern = re.escape(identity)
    match kind:
        case "file":
            return re.fullmatch(rf"\..+\.{pattern}(-[0-9]+)?\.part", name, re.DOTALL) is not None
        case "tree" | "container":
            return re.fullmatch(rf"dibo-{pattern}-[0-9]+", name) is not None
        case "docker":
            return re.fullmatch(rf"dibo-{pattern}-[0-9]+", value.rpartition(" ")[2]) is not None
    return identity in value  # a loop device stands for a file of the run, or for one that is not finished


def _make_private(directory: Path) -> None:
    """A directory for this user alone. One of an earlier dibo, which others could read, is closed to them."""
    try:
        directory.mkdir(mode=_PRIVATE)
    except FileExistsError:
        if not directory.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
    state = directory.lstat()
    if stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid() and state.st_mode & 0o077:
        directory.chmod(_PRIVATE)


def require_trusted(directory: Path, *, owners: tuple[int, ...]) -> None:
    """Raises OutputError for a directory in which another user could put things in our name."""
    state = directory.stat()
    if state.st_uid not in owners:
        raise OutputError(
            f"cannot use {directory} as the cache: it belongs to {user_name(state.st_uid)}, "
            f"expected {user_name(os.geteuid())}",
            hint="set IMG_PATH or --cache-dir to a directory of your own",
        )


def _is_own(path: Path, is_kind: Callable[[int], bool]) -> bool:
    """Whether `path` is of this kind, no symbolic link, this user's, and writable by no other user."""
    try:
        state = path.lstat()
    except OSError:
        return False
    return is_kind(state.st_mode) and state.st_uid == os.geteuid() and not state.st_mode & _OTHERS_MAY_WRITE


def user_name(uid: int) -> str:
    try:
        return f"the user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"the user with id {uid}"


def _kill_run(identity: str) -> None:
    """End what a killed run left running, and all below it."""
    mark = f"DIBO_RUN={identity}".encode()
    table = process.process_table()
    doomed = {pid for pid in table if mark in _environment(pid).split(b"\0")} - {os.getpid()}
    grown = True
    while grown:
        more = {pid for pid, (parent, _, _) in table.items() if parent in doomed} - doomed
        grown = bool(more)
        doomed |= more
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + process.GRACE_SECONDS
    while doomed and time.monotonic() < deadline:  # what is dying may hold files and mounts still
        table = process.process_table()
        doomed = {pid for pid in doomed if pid in table and table[pid][2] != "Z"}
        time.sleep(0.01 if doomed else 0)


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _unusable(root: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot use {root} as the cache: {disk_space.reason(error, root)}",
        hint="set IMG_PATH or --cache-dir to a directory you may write to",
    )


def remove_tree(directory: Path) -> None:
    """Remove a tree, also when parts of it belong to subordinate ids, which only a user namespace may touch."""
    with uninterrupted():
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists():
            with contextlib.suppress(DiboError):
                process.run(["buildah", "unshare", "rm", "-rf", "--", str(directory)])

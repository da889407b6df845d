"""The files that one command makes: what can be refused before, and how all of them get their names together.

    web.qcow2  web.raw                                   artefacts
    web.qcow2.sha256  web.raw.sha256  web.manifest.json  records of them

Everything is whole, under other names beside these, before the first gets its name. Then old records go, artefacts
come, and new records last: whenever that is interrupted, no record is there that speaks of other files.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from dibo.artefacts.checksums import (
    checksum_path,
    directory_sums,
    encoded,
    md5_of,
    md5_path,
    sha256_of,
    size_of,
    sums_text,
)
from dibo.artefacts.recorded import is_as_written
from dibo.errors import OutputError, UsageError
from dibo.system import disk_space
from dibo.system.report import Report
from dibo.system.signals import uninterrupted
from dibo.system.workspace import Run
from dibo.tree.node import Buffer

LONGEST_NAME = 190
"""Bytes of a name; file systems have 255, of which types, records and files that are not finished take the rest."""


def check_output_name(output: Path, *, option: str = "-o") -> None:
    """Refuse what names no file that dibo can write; `option` is what names it. Raises UsageError, OutputError."""
    if not output.name:
        raise UsageError(
            f"{str(output)!r} is not the name of a file", hint=f"{option} takes a name: web, or out/web"
        )
    try:
        str(output.absolute()).encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"the path {str(output)!a} is not UTF-8",
            hint=f"manifests and checksums contain names as UTF-8; choose another with {option}",
        ) from None
    if "\0" in str(output) or len(output.name.encode()) > LONGEST_NAME:
        raise UsageError(
            f"{_short(output.name)} is not the name of a file that dibo can write",
            hint=f"a name has no NUL, and at most {LONGEST_NAME} bytes: the type and others come behind it",
        )
    directory = output.absolute().parent
    if not directory.is_dir():
        if os.path.lexists(directory):
            raise OutputError(f"{directory} is not a directory", hint=f"choose another with {option}")
        raise OutputError(
            f"the directory {directory} does not exist", hint=f"make it, or choose another with {option}"
        )
    check_writable(directory, hint=f"choose another directory with {option}")


def check_writable(directory: Path, *, hint: str) -> None:
    """Make a file there that has no name: access(2) says of root that it may write anywhere, and nothing of file
    systems that take no files, such as sysfs. Raises OutputError."""
    try:
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        is_read_only = error.errno == errno.EROFS
        reason = "its file system is read-only" if is_read_only else disk_space.reason(error, directory)
        raise OutputError(f"cannot write into {directory}: {reason}", hint=hint) from error


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:57]}…")


def check_output_file(path: Path, *, option: str = "-o") -> None:
    """As `check_output_name`, of the one file of a command, which `option` names. Raises UsageError, OutputError."""
    check_output_name(path, option=option)
    if path.is_dir():
        raise OutputError(f"{path} is a directory", hint=f"name a file with {option}")


def check_output_files(paths: Sequence[Path], *, directories: Sequence[Path] = ()) -> None:
    """Refuse names that are taken by a directory, or by two files; and those of `directories` that are taken by
    anything but an empty one, or one that is as dibo wrote it. Raises UsageError, OutputError."""
    if len({*paths, *directories}) != len(paths) + len(directories):
        raise UsageError("two types would be written to the same file", hint="give -o a name without a type")
    for path in paths:
        if path.is_dir():
            raise OutputError(f"{path} is a directory", hint="choose another name with -o")
    for path in directories:
        if os.path.lexists(path) and not _may_be_replaced(path):
            raise OutputError(
                f"{path} exists, and is not as dibo wrote it",
                hint="remove it, or choose another name with -o",
            )


def _may_be_replaced(directory: Path) -> bool:
    if directory.is_symlink() or not directory.is_dir():
        return False
    return not any(directory.iterdir()) or is_as_written(directory)


class Outputs:
    """The files of one command, as a context manager: what is not published when it ends is removed."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._stack = ExitStack()
        self._artefacts: dict[Path, Path] = {}
        self._records: dict[Path, Path] = {}
        self._dropped: set[Path] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def artefact(self, path: Path) -> Path:
        """Where to write what becomes `path`. Raises OutputError."""
        self._artefacts[path.absolute()] = part = self._stack.enter_context(self._run.beside(path))
        return part

    def directory(self, path: Path) -> Path:
        """As `artefact`, for one that is a directory, which must not be there or be empty. Raises OutputError."""
        part = self.artefact(path)
        part.unlink()
        part.mkdir()
        self._stack.callback(shutil.rmtree, part, ignore_errors=True)
        return part

    def record(self, path: Path, text: str) -> None:
        """Write what becomes `path`: a checksum, a manifest. Raises OutputError."""
        self._records[path.absolute()] = part = self._stack.enter_context(self._run.beside(path))
        part.write_bytes(encoded(text))

    def beside(self, path: Path, data: Buffer) -> None:
        """Write what becomes `path`, a file that belongs to the artefacts; its directory is made. Raises
        OutputError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the directory {path.parent}: {error.strerror}") from error
        self._records[path.absolute()] = part = self._stack.enter_context(self._run.beside(path))
        part.write_bytes(data)

    def checksums(self, paths: Sequence[Path], report: Report) -> tuple[str, ...]:
        """Record the sha256 of each of these artefacts; their sha256."""
        sums = []
        for path in paths:
            with report.task(f"sha256 of {path.name}", minor=True) as task:
                size = size_of(self._artefacts[path.absolute()])
                sums.append(self.checksum(path, lambda done: task.progress(done, size)))  # noqa: B023 (called at once)
        return tuple(sums)

    def checksum(self, path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> str:
        """Record the sha256 of the artefact that becomes `path`, as sha256sum(1) writes and checks it; the sha256. Of a
        directory, that of each file is recorded, and the sha256 of this record is what is returned."""
        part = self._artefacts[path.absolute()]
        if part.is_dir():
            text = directory_sums(part, path.name)
            self.record(checksum_path(path), text)
            return hashlib.sha256(encoded(text)).hexdigest()
        digest = sha256_of(part, on_bytes)
        self.record(checksum_path(path), f"{digest}  {path.name}\n")
        return digest

    def md5_sums(self, paths: Sequence[Path], report: Report) -> None:
        """Record the MD5 of each of these artefacts as md5sum(1) does; of a directory, of each file."""
        for path in paths:
            with report.task(f"md5 of {path.name}", minor=True):
                part = self._artefacts[path.absolute()]
                self.record(md5_path(path), sums_text(part, path.name, md5_of))

    def tree_digest(self, path: Path) -> str:
        """What `checksum` returns of the artefact that becomes `path`, with nothing recorded; of a file, nothing."""
        part = self._artefacts[path.absolute()]
        return hashlib.sha256(encoded(directory_sums(part, path.name))).hexdigest() if part.is_dir() else ""

    def drop(self, path: Path) -> None:
        """Have a record of former artefacts, if there is one, go when these get their names."""
        self._dropped.add(path.absolute())

    def publish(self) -> None:
        """Give all their names. Checksums of former artefacts go, also where no new ones come. Raises OutputError,
        UsageError; what other runs have put in their place meanwhile stays then."""
        directories = [path for path, part in self._artefacts.items() if part.is_dir()]
        files = [path for path in (*self._artefacts, *self._records) if path not in directories]
        with uninterrupted():
            check_output_files(files, directories=directories)
            sums = [of(path) for path in self._artefacts for of in (checksum_path, md5_path)]
            for record in {*self._records, *self._dropped, *sums}:
                record.unlink(missing_ok=True)
            for path, part in (*self._artefacts.items(), *self._records.items()):
                if part.is_dir() and path.is_dir() and any(path.iterdir()):
                    self._set_aside(path)
                part.replace(path)

    def _set_aside(self, directory: Path) -> None:
        """Give what a former command wrote a name with which it is removed; rename(2) replaces no directory that has
        something in it."""
        aside = self._stack.enter_context(self._run.beside(directory))
        aside.unlink()
        self._stack.callback(shutil.rmtree, aside, ignore_errors=True)
        directory.rename(aside)

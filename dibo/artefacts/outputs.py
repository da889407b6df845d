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
from typing import Final, Self

from dibo.errors import OutputError, UsageError, VerificationFailed
from dibo.formats.streams.disk_file import pieces
from dibo.system import disk_space
from dibo.system.report import Report
from dibo.system.signals import uninterrupted
from dibo.system.workspace import Run

_CHUNK: Final = 1 << 18
_ZEROS: Final = memoryview(bytes(_CHUNK))
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
    anything but an empty one. Raises UsageError, OutputError."""
    if len({*paths, *directories}) != len(paths) + len(directories):
        raise UsageError("two types would be written to the same file", hint="give -o a name without a type")
    for path in paths:
        if path.is_dir():
            raise OutputError(f"{path} is a directory", hint="choose another name with -o")
    for path in directories:
        if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
            raise OutputError(f"{path} exists", hint="remove it, or choose another name with -o")


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a directory."""
    if path.is_dir():
        return sum(file.lstat().st_size for file in path.rglob("*") if _is_plain(file))
    return path.stat().st_size


def checksum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def sha256_of(path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> str:
    """Hexadecimal. `on_bytes` gets the number of bytes that were read. Of a directory, that of its checksums."""
    if path.is_dir():
        return hashlib.sha256(_encoded(directory_sums(path, path.name))).hexdigest()
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        for piece in pieces(stream, size=_CHUNK):  # holes are not read
            data = _ZEROS[: size - done] if piece is None else piece
            digest.update(data)
            on_bytes(done := done + len(data))
    return digest.hexdigest()


def directory_sums(path: Path, name: str) -> str:
    """The sha256 of each file in a directory that is called `name`, as sha256sum(1) writes them. Bytes of names that
    are not UTF-8 are surrogates."""
    files = sorted(file.relative_to(path) for file in path.rglob("*") if _is_plain(file))
    return "".join(_sum_line(sha256_of(path / file), f"{name}/{file}") for file in files)


def _sum_line(digest: str, name: str) -> str:
    """A line is one file, whatever its name has in it (coreutils, "md5sum invocation")."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{chr(92) if escaped != name else ''}{digest}  {escaped}\n"


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def verified_sha256(path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> str:
    """The sha256 of a file, compared with the one recorded beside it, if there is one. Raises VerificationFailed."""
    digest = sha256_of(path, on_bytes)
    record = checksum_path(path)
    if record.exists() and digest not in record.read_text(errors="replace").split():
        raise VerificationFailed(
            f"{path} has the sha256 {digest}; {record} says otherwise",
            hint="build the artefact again, or delete the file with the digest",
        )
    return digest


class Outputs:
    """The files of one command, as a context manager: what is not published when it ends is removed."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._stack = ExitStack()
        self._artefacts: dict[Path, Path] = {}
        self._records: dict[Path, Path] = {}

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
        part.write_bytes(_encoded(text))

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
            return hashlib.sha256(_encoded(text)).hexdigest()
        digest = sha256_of(part, on_bytes)
        self.record(checksum_path(path), f"{digest}  {path.name}\n")
        return digest

    def publish(self) -> None:
        """Give all their names. Checksums of former artefacts go, also where no new ones come. Raises OutputError,
        UsageError; what other runs have put in their place meanwhile stays then."""
        directories = [path for path, part in self._artefacts.items() if part.is_dir()]
        files = [path for path in (*self._artefacts, *self._records) if path not in directories]
        with uninterrupted():
            check_output_files(files, directories=directories)
            for record in {*self._records, *map(checksum_path, self._artefacts)}:
                record.unlink(missing_ok=True)
            for path, part in (*self._artefacts.items(), *self._records.items()):
                part.replace(path)

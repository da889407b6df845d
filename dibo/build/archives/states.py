"""Which state archives are in: the digest of the signed file of each suite, asked for with one conditional request.

    archives/states/<sha256 of its address>     JSON: address, digest, validators; its time is that of the last answer

An answer counts for a minute, so that several commands in a row do not ask again. The file need not be verified here:
its digest only selects what was resolved from a file of that digest, which apt had verified.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.build.archives.archive import ArchiveState, PackageArchive, digest
from dibo.errors import BaseError, Unreachable
from dibo.system import http
from dibo.system.http import Validators
from dibo.system.report import Report
from dibo.system.retry import RetryPolicy

_COUNTS_FOR: Final = 60.0  # seconds
_TOGETHER: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Note:
    """What a server answered last."""

    sha256: str
    validators: Validators
    age: float
    """In seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveStates:
    """Asks for the states of archives, and remembers them in `directory`."""

    directory: Path
    policy: RetryPolicy
    offline: bool
    report: Report

    def current(self, archives: Sequence[PackageArchive]) -> ArchiveState:
        """The state of now; of archives that do not answer, or with `offline`, the last known. Raises Unreachable
        where none is known, BaseError for a refusal."""
        with ThreadPoolExecutor(_TOGETHER) as pool:
            digests = tuple(pool.map(self._digest, archives))
        return ArchiveState(archives=tuple(archives), digests=digests)

    def note(self, archive: PackageArchive, body: bytes) -> str:
        """Remember the signed file that was read now; its digest."""
        sha256 = digest(body)
        known = self._known(archive)
        same = known is not None and known.sha256 == sha256
        self._save(archive, sha256, known.validators if known is not None and same else Validators())
        return sha256

    def _digest(self, archive: PackageArchive) -> str:
        known = self._known(archive)
        if known is not None and (self.offline or known.age < _COUNTS_FOR):
            return known.sha256
        if self.offline:
            raise Unreachable(
                f"{archive.release_address} was never read, and dibo is told to stay offline", hint=_ONCE
            )
        try:
            answer = http.get(
                archive.release_address, known=known.validators if known else None, policy=self.policy
            )
        except BaseError as error:
            if known is None or not isinstance(error, Unreachable):
                error.hint = f"{error.hint}\n{_EPOCH}"
                raise
            self.report.warn(
                f"{error.message}; going on with the state of the archive {known.age / 3600:.0f} hours ago"
            )
            return known.sha256
        if answer is None:
            assert known is not None
            self._save(archive, known.sha256, known.validators)
            return known.sha256
        sha256 = digest(answer.body)
        self._save(archive, sha256, answer.validators)
        return sha256

    def _path(self, archive: PackageArchive) -> Path:
        return self.directory / digest(archive.release_address.encode())

    def _known(self, archive: PackageArchive) -> _Note | None:
        path = self._path(archive)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            note = json.loads(path.read_text())
            age = time.time() - path.stat().st_mtime
            return _Note(
                sha256=str(note["sha256"]),
                validators=Validators(etag=str(note["etag"]), modified=str(note["modified"])),
                age=age if age >= 0 else _COUNTS_FOR,  # the clock was set back since
            )
        return None

    def _save(self, archive: PackageArchive, sha256: str, validators: Validators) -> None:
        note = {
            "address": archive.release_address,
            "sha256": sha256,
            "etag": validators.etag,
            "modified": validators.modified,
        }
        path = self._path(archive)
        part = path.with_suffix(f".{os.getpid()}.part")
        with contextlib.suppress(OSError):  # the next command asks again
            self.directory.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(note))
            part.replace(path)


_ONCE: Final = "run once without --offline, or name the state of the archive with --epoch"
_EPOCH: Final = "or name the state of the archive with --epoch: then packages are part of no key"

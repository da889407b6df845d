"""Bases that are one file: a tar or squashfs here, or at an address with its sha256.

A file's sha256 is its ingredient. Hashing takes a second for two gigabytes, so what was hashed is noted in
the cache beside size, mtime, ctime and inode; the note serves planning only, and the file is hashed again before
it is used. ctime, unlike mtime, cannot be set back.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from dibo.build.bases.root_base import RootBase
from dibo.build.bases.settings import BaseSettings
from dibo.errors import BaseError, Unreachable, UsageError, VerificationFailed
from dibo.formats import magic
from dibo.plan.base import Ingredients, SquashFs, TarFile
from dibo.system import http
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from dibo.units import human_size

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_COMPRESSIONS: Final = ("gzip", "xz", "bzip2", "zstd")


class LocalFile(RootBase):
    """A tar or squashfs on this machine."""

    def __init__(
        self, path: Path, *, settings: BaseSettings, workspace: Workspace, report: Report | None = None
    ) -> None:
        super().__init__(settings=settings, workspace=workspace, report=report or Report())
        self._file = path.absolute()
        self._notes = workspace.bases / "hashes"
        self._sha256: str | None = None

    @property
    def name(self) -> str:
        return self._file.name

    def ingredients(self) -> Ingredients:
        if self._sha256 is None:
            self._sha256 = self._noted() or self._hash()
        return (("kind", "file"), ("sha256", self._sha256))

    def source(self) -> TarFile | SquashFs:
        self.ingredients()
        digest = http.digest_of(self._file)
        if digest != self._sha256:
            raise VerificationFailed(
                f"{self._file} changed while dibo worked", hint="let nothing write to it, and try again"
            )
        return root_file(self._file)

    def _hash(self) -> str:
        digest = http.digest_of(self._file)
        option_digest = checked_sha256(self._settings.sha256)
        if option_digest not in (None, digest):
            raise VerificationFailed(
                f"{self._file} has the sha256 {digest}, wanted {option_digest}", hint=_OTHER_FILE
            )
        self._notes.mkdir(exist_ok=True)
        self._note().write_text(json.dumps({"state": self._state(), "sha256": digest}))
        return digest

    def _noted(self) -> str | None:
        try:
            note = json.loads(self._note().read_text())
            noted = str(note["sha256"]) if note["state"] == self._state() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return noted if checked_sha256(self._settings.sha256) in (None, noted) else None

    def _note(self) -> Path:
        return self._notes / hashlib.sha256(str(self._file).encode()).hexdigest()

    def _state(self) -> list[int]:
        state = self._file.stat()
        return [state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]


class RemoteFile(RootBase):
    """A tar or squashfs at an address; its sha256 must be known beforehand."""

    def __init__(
        self, url: str, *, sha256: str, settings: BaseSettings, workspace: Workspace, report: Report
    ) -> None:
        self._url = url
        self._sha256 = sha256
        super().__init__(settings=settings, workspace=workspace, report=report)
        self._bases = workspace.bases

    @property
    def name(self) -> str:
        return file_name(self._url)

    def ingredients(self) -> Ingredients:
        return (("kind", "file"), ("sha256", self._sha256))

    def source(self) -> TarFile | SquashFs:
        target = kept_file(self._bases, self._sha256, self.name)
        return root_file(bring(self._url, target, self._sha256, settings=self._settings, report=self._report))


def remote_file(url: str, *, settings: BaseSettings, workspace: Workspace, report: Report) -> RemoteFile:
    """The base at `url`; its sha256 is the fragment (`#sha256=HEX`) or in the settings. Raises UsageError."""
    address, _, fragment = url.partition("#")
    stated = fragment.removeprefix("sha256=") if fragment else settings.sha256
    if not stated:
        raise UsageError(
            f"{address} has no sha256, so the download cannot be verified",
            hint=f"append it: {address}#sha256=HEX (sha256sum FILE prints it)",
        )
    sha256 = checked_sha256(stated)
    if settings.sha256 and sha256 != checked_sha256(settings.sha256):
        raise UsageError(f"two different sha256 for {address}", hint="give it once")
    assert sha256 is not None
    return RemoteFile(address, sha256=sha256, settings=settings, workspace=workspace, report=report)


def checked_sha256(text: str | None) -> str | None:
    """64 small hex digits, or None for None. Raises UsageError."""
    if text is None:
        return None
    digest = text.lower().removeprefix("sha256:")
    if _SHA256.fullmatch(digest) is None:
        raise UsageError(
            f"{text!r} is not a sha256", hint="it has 64 hexadecimal digits; sha256sum FILE prints it"
        )
    return digest


def kept_file(bases: Path, sha256: str, name: str) -> Path:
    """Where a downloaded base is kept: by digest, its name behind it for people."""
    return bases / f"sha256-{sha256}-{name}"


def bring(url: str, target: Path, sha256: str, *, settings: BaseSettings, report: Report) -> Path:
    """Make `target` what is at `url`, unless it is here already. Raises as fetch.download."""
    if target.exists() and http.digest_of(target) == sha256:
        return target
    if settings.offline:
        raise Unreachable(
            f"{url} is not here yet, and dibo is told to stay offline", hint="run once without --offline"
        )
    with report.task(f"downloading {file_name(url)}") as task:
        http.download(url, target, sha256=sha256, policy=settings.policy, progress=task.progress)
        task.note(human_size(target.stat().st_size))
    return target


def root_file(path: Path) -> TarFile | SquashFs:
    """What kind of root `path` holds, by its first bytes; names lie. Raises BaseError."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise BaseError(f"cannot read {path}: {error.strerror}") from error
    if magic.file_system(head) == "squashfs":
        return SquashFs(path=path)
    if magic.compression(head) in _COMPRESSIONS or magic.archive(head) == "tar":
        return TarFile(path=path)
    raise BaseError(
        f"{path} is neither a tar (plain, gzip, xz, bzip2, zstd) nor a squashfs",
        hint="a disk image cannot be a base; name a root file system",
    )


def file_name(url: str) -> str:
    """The last part of an address, fit for a file name."""
    last = PurePosixPath(unquote(urlsplit(url).path)).name
    return re.sub(r"[^A-Za-z0-9._+-]", "_", last)[-100:] or "root"


_OTHER_FILE: Final = "it is another file than the one you wanted, or it was damaged on its way"

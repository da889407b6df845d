"""What flavours list under `fetch`: fetched by digest, kept, and laid out for the steps that see it.

    fetched/sha256-HEX-NAME

Files of steps that are to run are fetched beside other work (`FetchedFiles.ahead`); a step waits for its own. A file is
checked each time before a step gets it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from dibo.errors import BaseError, FlavourError, Unreachable, VerificationFailed
from dibo.flavours.files import copy_file
from dibo.flavours.model import FETCHED, FetchedFile
from dibo.flavours.stack import Stack
from dibo.plan.input_files import InputFile, InputStore, NoInputs
from dibo.plan.recipe import Step
from dibo.settings.settings import Settings
from dibo.system import http
from dibo.system.report import Report
from dibo.system.retry import RetryPolicy
from dibo.system.task import Task
from dibo.system.threads import beside
from dibo.system.workspace import Workspace
from dibo.units import OnBytes, human_size

LARGEST: Final = 16 << 30
"""Bytes of one file."""
_TOGETHER: Final = 4
_LOOK_SECONDS: Final = 0.5  # dibo.system.threads says why
_GONE: Final = (404, 410)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class FileRequest:
    """A file, and the flavour that lists it."""

    flavour: str
    file: FetchedFile


def requests_of_steps(steps: Iterable[Step]) -> tuple[FileRequest, ...]:
    """What steps see, in their order; each content once."""
    requests: dict[str, FileRequest] = {}
    for step in steps:
        for name, files in step.fetched:
            for file in files:
                requests.setdefault(file.sha256, FileRequest(flavour=name, file=file))
    return tuple(requests.values())


def requests_of_stack(stack: Stack, architecture: str) -> tuple[FileRequest, ...]:
    """What the flavours of a stack list for an architecture, sorted."""
    return tuple(
        sorted(
            FileRequest(flavour=flavour.name, file=file)
            for flavour in stack.flavours
            for file in flavour.fetched_for(architecture)
        )
    )


class _Cancelled(Exception):
    """The file is not needed any longer."""


@dataclass(slots=True)
class _Ahead:
    """Downloads that go on beside other work, by digest."""

    futures: dict[str, Future[Path]] = field(default_factory=dict)
    ended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedFiles:
    """Fetches files from `store`, then from their addresses, and keeps them in `directory`."""

    directory: Path
    policy: RetryPolicy = http.DOWNLOADS
    offline: bool = False
    report: Report
    store: InputStore = field(default_factory=NoInputs)
    _ahead: _Ahead = field(default_factory=_Ahead, repr=False, compare=False)

    def require(self, requests: Iterable[FileRequest]) -> None:
        """Raises Unreachable where dibo is told to stay offline, and a file is not here."""
        missing = [entry for entry in requests if self.find(entry.file) is None] if self.offline else []
        if missing:
            listed = ", ".join(
                f"{entry.file.name} of the flavour {entry.flavour!r} ({entry.file.urls[0]})"
                for entry in missing
            )
            raise Unreachable(
                f"not here yet, and dibo is told to stay offline: {listed}", hint="run once without --offline"
            )

    @contextlib.contextmanager
    def ahead(self, requests: Iterable[FileRequest]) -> Iterator[None]:
        """Fetch files while the body runs; at its end, what is not complete is given up."""
        self._ahead.ended = False
        work = []
        for entry in requests:
            future = self._ahead.futures[entry.file.sha256] = Future[Path]()
            work.append(partial(self._settle, entry, future))
        try:
            with beside(work, threads=_TOGETHER, stop=self._give_up):
                yield
        finally:
            self._ahead.futures.clear()

    def _settle(self, entry: FileRequest, future: Future[Path]) -> None:
        try:
            future.set_result(self._bring(entry))
        except BaseException as error:
            future.set_exception(error)

    def _give_up(self) -> None:
        self._ahead.ended = True

    def raise_failures(self) -> None:
        """Raises what `bring` would of a file that could not be fetched ahead."""
        for future in self._ahead.futures.values():
            if future.done() and (error := future.exception()) is not None:
                raise error

    def place(self, step: Step, target: Path) -> None:
        """Have what a step sees in `target`, its context, beside the files of its flavours. Raises as `bring`."""
        for name, files in step.fetched:
            directory = (target if name == step.flavour else target / "flavours" / name) / FETCHED
            directory.mkdir(parents=True)
            for parent in (directory, *directory.parents):
                if parent == target:
                    break
                parent.chmod(0o755)
            for file in files:
                copy = directory / file.name
                copy_file(self.bring(FileRequest(flavour=name, file=file)), copy)
                copy.chmod(file.mode)

    def bring(self, request: FileRequest) -> Path:
        """The file, here and checked. Raises VerificationFailed for another digest, Unreachable, FlavourError for what
        is nowhere, OutputError."""
        future = self._ahead.futures.get(request.file.sha256)
        if future is None:
            return self._bring(request)
        while True:
            with contextlib.suppress(TimeoutError):
                return self._checked(request, future.result(_LOOK_SECONDS))

    def _checked(self, request: FileRequest, path: Path) -> Path:
        """It may have been damaged, or removed, since it was fetched."""
        return path if path.exists() and http.digest_of(path) == request.file.sha256 else self._bring(request)

    def find(self, file: FetchedFile) -> Path | None:
        """One with this digest, checked, whatever its name was; None where it is not here."""
        return next(
            (
                path
                for path in sorted(self.directory.glob(f"sha256-{file.sha256}-*"))
                if path.suffix not in (".part", ".json") and http.digest_of(path) == file.sha256
            ),
            None,
        )

    def _bring(self, request: FileRequest) -> Path:
        if (path := self.find(request.file)) is not None:
            with contextlib.suppress(OSError):
                os.utime(path)  # used now
            return path
        self.require([request])
        target = self.directory / f"sha256-{request.file.sha256}-{request.file.name}"
        with self.report.task(f"fetching {request.file.name}") as task:

            def progress(done: int, size: int | None) -> None:
                if self._ahead.ended and self._ahead.futures:  # a thread of `ahead`
                    raise _Cancelled
                task.progress(done, size)

            failures: list[BaseError] = []
            if self._from_store(request, target, task, progress):
                return target
            for url in request.file.urls:
                try:
                    http.download(
                        url,
                        target,
                        sha256=request.file.sha256,
                        policy=self.policy,
                        progress=progress,
                        limit=LARGEST,
                    )
                except BaseError as error:
                    failures.append(error)
                else:
                    task.note(human_size(target.stat().st_size))
                    return target
            if self._from_store(request, target, task, progress, urgent=True):
                return target
            raise _failure(request, failures)

    def _from_store(
        self, request: FileRequest, target: Path, task: Task, progress: OnBytes, *, urgent: bool = False
    ) -> bool:
        file = InputFile(sha256=request.file.sha256, name=request.file.name)
        is_there = self.store.bring(file, target, on_bytes=progress, urgent=urgent)
        if is_there:
            task.note(f"{human_size(target.stat().st_size)} from a cache")
        return is_there


def _failure(request: FileRequest, failures: list[BaseError]) -> BaseError | FlavourError:
    """One error for all addresses of a file: that of another digest counts most."""
    reasons = "; ".join(error.message for error in failures)
    message = f"the flavour {request.flavour!r} cannot have {request.file.name}: {reasons}"
    for error in failures:
        if isinstance(error, VerificationFailed):
            return VerificationFailed(
                message,
                hint="the file was changed on its way or on the server; where it has a new version that is meant, "
                "write its sha256 into flavour.yaml",
            )
    for error in failures:
        if isinstance(error, Unreachable):
            return Unreachable(message, hint=error.hint)
    gone = all(error.status in _GONE for error in failures)
    return FlavourError(
        f"{message}{'; it is gone, and not in the cache' if gone else ''}",
        hint="write another `url` into flavour.yaml: it changes no key as long as the sha256 is the same",
    )


def fetched_files(settings: Settings, workspace: Workspace, report: Report) -> FetchedFiles:
    """What the settings say."""
    return FetchedFiles(directory=workspace.root / "fetched", offline=settings.offline, report=report)

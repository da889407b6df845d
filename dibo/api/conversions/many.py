"""Several images at once: workers, which image is whose, and which layers are read for all of them.

First the workers say which layers the images have. Then each image is converted by one of them. A layer that several
images have is read by the first worker that needs it, into a file beside the outputs, so that these can share its
blocks; the images that have it wait for that, others go on meanwhile. The file goes when the last of them is done. Of
the room on that file system, such files take at most half; what does not fit, each image reads itself.
"""

from __future__ import annotations

import enum
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from dibo.api.conversions.messages import (
    Answer,
    Convert,
    Converted,
    Failed,
    FindLayers,
    ImageConversion,
    ImageLayers,
    Order,
    Said,
    Unpacked,
)
from dibo.api.conversions.opened import conversion_workspace
from dibo.api.workers.process import WorkerProcess
from dibo.artefacts.converter import converters_of
from dibo.artefacts.outputs import check_output_name
from dibo.build.engines.sweeping import sweepers
from dibo.disk.request import ending
from dibo.errors import CommandFailed, DiboError, UsageError
from dibo.system.report import Report
from dibo.system.task import Task
from dibo.system.threads import in_threads
from dibo.system.workspace import Run
from dibo.units import counted

_PROGRAM: Final = "dibo.api.conversions.worker"
_LAST: Final = (ImageLayers, Converted, Failed)
"""What a worker ends an order with."""
_Last = ImageLayers | Converted | Failed
_Worker = WorkerProcess[Answer, _Last]
_SHARED: Final = 2
"""Images that have a layer, from which on it is read for all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOutcome:
    """What became of one image."""

    job: ImageConversion
    image: str = ""
    """Its name, with the digest where that is known."""
    artefacts: tuple[Path, ...] = ()
    error: DiboError | None = None
    seconds: float = 0.0


def convert_all(jobs: Sequence[ImageConversion], report: Report, *, workers: int) -> tuple[ImageOutcome, ...]:
    """Convert each image; the outcomes in the same order. One that fails stops no other. A directory of outputs is
    made, if only that is missing. Raises UsageError where two would write the same file, OutputError where nothing can
    be written."""
    _require_different_files(jobs)
    for output in {job.settings.output.absolute().parent: job.settings.output for job in jobs}.values():
        with suppress(OSError):
            output.absolute().parent.mkdir()
        check_output_name(output)
    with conversion_workspace(jobs[0].settings) as workspace, workspace.run(sweepers=sweepers()) as run:
        return _Conversions(jobs, report, run).outcomes(min(workers, len(jobs)))


def _require_different_files(jobs: Sequence[ImageConversion]) -> None:
    taken: dict[Path, ImageConversion] = {}
    for job in jobs:
        for converter in converters_of(job.settings):
            path = ending(job.settings.output, converter).absolute()
            previous = taken.setdefault(path, job)
            if previous is not job:
                raise UsageError(
                    f"{previous.request.reference} and {job.request.reference} would both be written to {path}",
                    hint="give each a name of its own, in a list with a line `IMAGE NAME` for each: --images-from FILE",
                )


class _State(enum.Enum):
    """How far a layer is that several images have."""

    UNREAD = enum.auto()
    IN_WORK = enum.auto()
    READ = enum.auto()
    LEFT = enum.auto()
    """It could not be read into a file: each image reads it."""


@dataclass(slots=True, kw_only=True)
class _SharedLayer:
    path: Path
    users: int
    """Images that are not done."""
    state: _State = _State.UNREAD
    size: int = 0


@dataclass(slots=True, kw_only=True)
class _Image:
    job: ImageConversion
    diff_ids: tuple[str, ...] = ()
    outcome: ImageOutcome | None = None
    began: float = field(default_factory=time.monotonic)


class _ImageFailed(Exception):
    """So a task ends that is not done."""


class _Conversions:
    def __init__(self, jobs: Sequence[ImageConversion], report: Report, run: Run) -> None:
        self._images = [_Image(job=job) for job in jobs]
        self._report = report
        self._run = run
        self._changed = threading.Condition()
        self._layers: dict[str, _SharedLayer] = {}
        self._waiting: list[_Image] = []
        directory = jobs[0].settings.output.absolute().parent
        self._file = directory / "shared-layer"
        stat = os.statvfs(directory)
        self._room = stat.f_bavail * stat.f_frsize // 2

    def outcomes(self, workers: int) -> tuple[ImageOutcome, ...]:
        with ExitStack() as stack:
            processes = [stack.enter_context(_Worker(_PROGRAM, _LAST, self._report)) for _ in range(workers)]
            try:
                self._carry_out(processes, stack)
            except BaseException:
                with self._changed:  # no other image is begun
                    self._waiting = []
                    self._changed.notify_all()
                raise
        return tuple(image.outcome for image in self._images if image.outcome is not None)

    def _carry_out(self, processes: Sequence[_Worker], stack: ExitStack) -> None:
        with self._report.task("images") as task:
            self._waiting = list(self._images)
            in_threads([partial(self._survey, process) for process in processes])
            self._find_shared(stack)
            layers = counted(len(self._layers), "shared layer")
            task.note(f"{counted(len(self._images), 'image')}, {layers}")
        self._waiting = [image for image in self._images if image.outcome is None]
        in_threads([partial(self._convert, process) for process in processes])

    # Which layers they have

    def _survey(self, worker: _Worker) -> None:
        while (image := self._first()) is not None:
            image.began = time.monotonic()
            answer = _ask(worker, FindLayers(job=image.job), lambda _: None)
            if isinstance(answer, ImageLayers):
                image.diff_ids = answer.diff_ids
            else:
                self._end(image, answer)

    def _first(self) -> _Image | None:
        with self._changed:
            return self._waiting.pop(0) if self._waiting else None

    def _find_shared(self, stack: ExitStack) -> None:
        counts = Counter(diff_id for image in self._images for diff_id in image.diff_ids)
        for diff_id, count in counts.items():
            if count >= _SHARED:
                path = stack.enter_context(self._run.beside(self._file))
                self._layers[diff_id] = _SharedLayer(path=path, users=count)

    # Conversions

    def _convert(self, worker: _Worker) -> None:
        while (taken := self._next()) is not None:
            image, order = taken
            image.began = time.monotonic()
            try:
                with suppress(_ImageFailed), self._report.task(image.job.request.reference) as task:
                    answer = _ask(worker, order, lambda answer: self._hear(answer, image, task))  # noqa: B023 (heard at once)
                    self._end(image, answer)
                    if isinstance(answer, Failed):
                        raise _ImageFailed
            finally:
                self._release(image, order)

    def _next(self) -> tuple[_Image, Convert] | None:
        """The next image whose layers no other worker is reading. None where there is none left."""
        with self._changed:
            while self._waiting:
                for image in self._waiting:
                    shared = {
                        diff_id: self._layers[diff_id]
                        for diff_id in image.diff_ids
                        if diff_id in self._layers
                    }
                    if any(layer.state is _State.IN_WORK for layer in shared.values()):
                        continue
                    self._waiting.remove(image)
                    return image, self._order(image, shared)
                self._changed.wait()
        return None

    def _order(self, image: _Image, shared: dict[str, _SharedLayer]) -> Convert:
        paths: dict[_State, dict[str, Path]] = {state: {} for state in _State}
        for diff_id, layer in shared.items():
            paths[layer.state][diff_id] = layer.path
            if layer.state is _State.UNREAD:
                layer.state = _State.IN_WORK
        room = self._room - sum(layer.size for layer in self._layers.values())
        return Convert(
            job=image.job, to_unpack=paths[_State.UNREAD], unpacked=paths[_State.READ], room=max(0, room)
        )

    def _hear(self, answer: Answer, image: _Image, task: Task) -> None:
        if isinstance(answer, Unpacked):
            with self._changed:
                layer = self._layers[answer.diff_id]
                layer.state = _State.LEFT if answer.size is None else _State.READ
                layer.size = answer.size or 0
                self._changed.notify_all()
        elif isinstance(answer, Said) and answer.is_warning:
            self._report.warn(answer.text, subject=image.job.request.reference)
        elif isinstance(answer, Said):
            task.line(answer.text)

    def _end(self, image: _Image, answer: Answer) -> None:
        seconds = time.monotonic() - image.began
        if isinstance(answer, Converted):
            image.outcome = ImageOutcome(
                job=image.job, image=answer.image, artefacts=answer.artefacts, seconds=seconds
            )
            return
        assert isinstance(answer, Failed)
        image.outcome = ImageOutcome(job=image.job, error=answer.error, seconds=seconds)
        self._report.warn(f"{image.job.request.reference} failed: {answer.error.message}")

    def _release(self, image: _Image, order: Convert) -> None:
        """Let others read the layers that the image was to read and did not; remove those that are not needed now."""
        with self._changed:
            for diff_id in image.diff_ids:
                layer = self._layers.get(diff_id)
                if layer is None:
                    continue
                if diff_id in order.to_unpack and layer.state is _State.IN_WORK:
                    layer.state = _State.UNREAD
                layer.users -= 1
                if not layer.users:
                    layer.path.unlink(missing_ok=True)
                    layer.size = 0
            self._changed.notify_all()


def _ask(worker: _Worker, order: Order, hear: Callable[[Answer], None]) -> _Last:
    """The answer to an order. A worker that was killed is Failed."""
    try:
        return worker.ask(order, hear)
    except CommandFailed as error:
        return Failed(error=error)

"""What people see of a task while a worker carries it out: of layers a row for each, of all else one row."""

from __future__ import annotations

import re
from typing import Final

from dibo.api.baking.spec import TaskOutcome
from dibo.api.workers.forward import (
    ReportText,
    TaskEnded,
    TaskMoved,
    TaskOutput,
    TaskStarted,
    WorkerMessage,
)
from dibo.artefacts.checksums import room_of
from dibo.bake.events import title_of
from dibo.bake.graph import BakeTask, Chain
from dibo.errors import DiboError, Interrupted
from dibo.system.report import Report
from dibo.system.task import DONE, INTERRUPTED, Task
from dibo.units import counted, human_size

_NUMBER: Final = re.compile(r"^\[[0-9]+/[0-9]+\] ")
"""Before the title of a step: how many there are in the plan of one image says nothing here."""
_FEW: Final = 3
_ENDS: Final[dict[str, type[BaseException] | None]] = {DONE: None, INTERRUPTED: Interrupted}
"""The class of what ended a task, by its outcome; for others it is DiboError."""


class TaskView:
    """Shows what a worker says of a task: a context manager, for the thread that hears it."""

    def __init__(self, task: BakeTask, report: Report) -> None:
        self._report, self._task = report, task
        self._is_chain = isinstance(task.work, Chain)
        self._rows: dict[int, Task] = {}
        """The report's task for that of the worker, by its number there."""
        self._whole: Task | None = None
        self._ended_by: type[BaseException] | None = None

    def __enter__(self) -> TaskView:
        if not self._is_chain:
            self._whole = self._report.task(title_of(self._task)).__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Rows that the worker left open, since it was killed, end as failed, or as interrupted."""
        failed = kind or self._ended_by
        for row in self._rows.values():
            row.__exit__(failed or DiboError, None, None)
        if self._whole is not None:
            self._whole.__exit__(failed, None, None)

    def end(self, outcome: TaskOutcome, *, interrupted: bool = False) -> None:
        """How it ended, and how much room artefacts take."""
        if outcome.error is not None:
            self._ended_by = Interrupted if interrupted else DiboError
        if outcome.artefacts and self._whole is not None:
            self._whole.note(human_size(sum(map(room_of, outcome.artefacts))))

    def hear(self, message: WorkerMessage) -> None:
        match message:
            case TaskStarted():
                self._started(message)
            case TaskMoved():
                if (row := self._row(message.number)) is not None:
                    row.progress(message.done, message.total)
            case TaskOutput():
                if (row := self._row(message.number)) is not None:
                    (row.running if message.is_hook else row.line)(message.text)
            case TaskEnded():
                row = self._rows.pop(message.number, None)
                if row is not None:
                    row.note(message.remark)
                    row.__exit__(_ENDS.get(message.outcome, DiboError), None, None)
            case ReportText(is_warning=True):
                self._report.warn(message.text, subject="" if self._is_chain else self._name())
            case ReportText():
                if (row := self._row(None)) is not None:
                    row.line(message.text)
            case _:
                pass  # where layers came from is in the outcome

    def _started(self, message: TaskStarted) -> None:
        if self._whole is not None:
            self._whole.running(message.title)
            self._whole.progress(0)
        elif message.within is None and not message.minor:
            title = f"{_NUMBER.sub('', message.title)} ({self._name()})"
            self._rows[message.number] = self._report.task(title).__enter__()

    def _row(self, number: int | None) -> Task | None:
        """What stands for a task of the worker, or for what it is a part of."""
        if self._whole is not None:
            return self._whole
        return self._rows.get(number or 0) or next(reversed(self._rows.values()), None)

    def _name(self) -> str:
        """For whom it is."""
        images = self._task.images
        if len(images) <= _FEW:
            return ", ".join(images)
        return counted(len(images), "image")

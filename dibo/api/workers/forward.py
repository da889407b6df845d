"""A report that goes from a worker to its command: the worker's is a Sink that sends small messages."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from dibo.api.workers.serve import Send
from dibo.errors import DiboError
from dibo.system.task import LayerOutcome, Notice, Task

_INTERVAL_SECONDS: Final = 0.2
"""Between two messages about bytes or output of one task, unless all lines are sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted:
    """A task of the worker's report; `number` is its number there."""

    number: int
    title: str
    within: int | None
    minor: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMoved:
    """Bytes that are done."""

    number: int
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutput:
    """A line of output of a task, or of none; with `is_hook`, the name of a part of it that starts."""

    number: int | None
    text: str
    is_hook: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnded:
    """`outcome` is one of dibo.system.task."""

    number: int
    outcome: str
    remark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportText:
    """A message or a warning."""

    text: str
    is_warning: bool


WorkerMessage = TaskStarted | TaskMoved | TaskOutput | TaskEnded | LayerOutcome | ReportText


class ForwardSink:
    """Sends what a report hears. With `verbose` each line of output, else as many as a person can see."""

    def __init__(self, send: Send, *, verbose: bool) -> None:
        self._send, self._verbose = send, verbose
        self._last: dict[int | None, float] = {}

    def started(self, task: Task) -> None:
        self._send(TaskStarted(number=task.number, title=task.title, within=task.within, minor=task.minor))

    def progressed(self, task: Task) -> None:
        if self._is_time(task.number):
            self._send(TaskMoved(number=task.number, done=task.done, total=task.total))

    def output(self, task: Task | None, text: str) -> None:
        number = task.number if task is not None else None
        is_hook = task is not None and not task.last_line and text == task.hook
        if is_hook or self._verbose or self._is_time(number):
            self._send(TaskOutput(number=number, text=text, is_hook=is_hook))

    def _is_time(self, number: int | None) -> bool:
        now = time.monotonic()
        due = now - self._last.get(number, 0.0) >= _INTERVAL_SECONDS
        if due:
            self._last[number] = now
        return due

    def ended(self, task: Task) -> None:
        self._send(TaskEnded(number=task.number, outcome=task.outcome, remark=task.remark))

    def layer(self, layer: LayerOutcome) -> None:
        self._send(layer)

    def message(self, text: str) -> None:
        self._send(ReportText(text=text, is_warning=False))

    def warning(self, text: str) -> None:
        self._send(ReportText(text=text, is_warning=True))

    def notice(self, notice: Notice) -> None:
        pass  # workers have none

    def error(self, error: DiboError) -> None:
        pass  # it is in the answer

    def close(self) -> None:
        pass

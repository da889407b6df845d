"""What goes on, as JSON documents, one a line: what standard error has with --json.

Programs that wait get what people see: steps with their times, bytes, origins of layers, warnings and errors. Each
document is one of the schema (`dibo schema json`), as the answer on standard output is.
"""

from __future__ import annotations

import json
import time
from typing import IO, Final

from dibo.api.documents import error_document, new_document
from dibo.errors import DiboError
from dibo.system.log_lines import LogLines
from dibo.system.task import LayerOutcome, Task
from dibo.system.terminal import Look

_INTERVAL_SECONDS: Final = 0.5
"""Between two events about the bytes of one step."""


class JsonEvents(LogLines):
    """A Sink of one document a line."""

    def __init__(self, stream: IO[str], *, verbose: bool, quiet: bool) -> None:
        """With `verbose`, lines of output are events too; with `quiet`, only warnings and errors are."""
        super().__init__(stream, Look(live=False, colour=False), verbose=verbose, quiet=quiet)
        self._began = time.monotonic()
        self._last: dict[int, float] = {}

    def started(self, task: Task) -> None:
        if not self._quiet:
            self._emit("step-started", step=task.number, within=task.within, title=task.title)

    def progressed(self, task: Task) -> None:
        now = time.monotonic()
        if not self._quiet and now - self._last.get(task.number, task.began) >= _INTERVAL_SECONDS:
            self._last[task.number] = now
            self._emit(
                "step-progress",
                step=task.number,
                bytes=task.done,
                total=task.total or None,
                rate=int(task.rate),
            )

    def output(self, task: Task | None, text: str) -> None:
        if self._verbose:
            self._emit("step-output", step=task.number if task is not None else None, line=text)

    def ended(self, task: Task) -> None:
        self._last.pop(task.number, None)
        if not self._quiet:
            self._emit(
                "step-ended",
                step=task.number,
                title=task.title,
                outcome=task.outcome,
                took=round(task.seconds, 3),
                note=task.remark,
            )

    def layer(self, layer: LayerOutcome) -> None:
        if not self._quiet:
            self._emit(
                "layer",
                key=layer.key,
                title=layer.title,
                origin=layer.origin,
                registry=layer.registry or None,
                step=layer.task,
            )

    def message(self, text: str) -> None:
        if not self._quiet:
            self._emit("message", text=text)

    def warning(self, text: str) -> None:
        self._emit("warning", text=text)

    def error(self, error: DiboError) -> None:
        self._print(json.dumps(error_document(error)))

    def _emit(self, name: str, **fields: object) -> None:
        seconds = round(time.monotonic() - self._began, 3)
        self._print(json.dumps(new_document(name, seconds=seconds, **fields)))

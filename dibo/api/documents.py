"""Answers of commands: text for people, and a JSON document for programs, in one schema (`dibo schema json`).

With --json, a command prints exactly one document to standard output: its answer, or the error that it ended with.
Standard error has events, one document a line: steps with their times, bytes, origins of layers, warnings, errors.
Keys are only added within a version; docs/reference/json.md lists them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from dibo.artefacts.checksums import checksum_path, room_of, sha256_of, size_of
from dibo.errors import DiboError, Interrupted
from dibo.system.log_lines import LogLines
from dibo.system.report import History
from dibo.system.summary import summary_fields
from dibo.system.task import LayerOutcome, Notice, Task
from dibo.system.terminal import Look, cells, fitted
from dibo.units import human_size

VERSION: Final = 1
"""Of the schema; a change that programs notice raises it."""
_SHORT: Final = 12
"""Digits of a digest that people see; the record beside the file has all."""
_EVENT_SECONDS: Final = 0.5
"""Between two events about the bytes of one step."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAnswer:
    """What a command found or made."""

    text: str
    document: Document

    @property
    def json(self) -> str:
        return json.dumps(self.document, indent=2)


def new_document(name: str, /, **fields: object) -> Document:
    """A document of the schema; `name` is one of its definitions."""
    return {"document": name, "version": VERSION, **fields}


def artefacts(paths: Sequence[Path], history: History) -> CommandAnswer:
    """Files that were made, with the room that they take and their digests, where these were recorded; and how."""
    image = history.image or None
    return CommandAnswer(
        text=files_text(paths),
        document=new_document(
            "artefacts", artefacts=file_fields(paths), image=image, **summary_fields(history)
        ),
    )


def file_fields(paths: Sequence[Path]) -> list[Document]:
    """Of a document: files that were made."""
    return [
        {"path": str(path), "size": size_of(path), "stored": room_of(path), "sha256": _sha256(path)}
        for path in paths
    ]


def files_text(paths: Sequence[Path]) -> str:
    """A line for each of them."""
    stats = [(str(path), room_of(path), _sha256(path)) for path in paths]
    width = max((cells(path) for path, _, _ in stats), default=0)
    return "\n".join(
        f"{fitted(path, width)}  ({human_size(room)}{f', sha256:{sha256[:_SHORT]}' if sha256 else ''})"
        for path, room, sha256 in stats
    )


def _sha256(path: Path) -> str | None:
    """What the record beside it says, which was made with it; of a directory, that of the record."""
    record = checksum_path(path)
    if path.is_dir() and record.is_file():
        return sha256_of(record)
    return record.read_text().split()[0] if record.is_file() else None


def error_fields(error: DiboError) -> Mapping[str, object]:
    return {
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "details": list(error.details),
        "exit_code": error.exit_code,
    }


def error_document(error: DiboError) -> Document:
    return new_document("error", error=error_fields(error))


def stopped_document(stop: Interrupted) -> Document:
    """Of a command that a signal ended."""
    fields = {"kind": "Interrupted", "message": str(stop), "hint": "", "details": []}
    return new_document("error", error={**fields, "exit_code": 128 + stop.signum})


class JsonEvents(LogLines):
    """A Sink of one document a line: programs that wait get what people see."""

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
        if not self._quiet and now - self._last.get(task.number, task.began) >= _EVENT_SECONDS:
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

    def notice(self, notice: Notice) -> None:
        if not self._quiet:
            self._emit(notice.name, **notice.fields)

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

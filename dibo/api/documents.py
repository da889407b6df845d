"""Answers of commands: text for people, and a JSON document for programs, in one schema (`dibo schema json`).

With --json, a command prints exactly one document to standard output: its answer, or the error that it ended with.
Events (dibo.api.events) go to standard error.
Keys are only added within a version; docs/reference/json.md lists them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dibo.api.summary import summary_fields
from dibo.artefacts.outputs import checksum_path
from dibo.errors import DiboError, Interrupted
from dibo.system.report import History
from dibo.system.terminal import cells, fitted
from dibo.units import human_size

VERSION: Final = 1
"""Of the schema; a change that programs notice raises it."""
_SHORT: Final = 12
"""Digits of a digest that people see; the record beside the file has all."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAnswer:
    """What a command found or made."""

    text: str
    document: Document

    @property
    def json(self) -> str:
        return json.dumps(self.document, indent=2)


def new_document(name: str, **fields: object) -> Document:
    """A document of the schema; `name` is one of its definitions."""
    return {"document": name, "version": VERSION, **fields}


def artefacts(paths: Sequence[Path], history: History) -> CommandAnswer:
    """Files that were made, with the room that they take and their digests, where these were recorded; and how."""
    stats = [(str(path), path.stat(), _sha256(path)) for path in paths]
    files = [
        {"path": path, "size": stat.st_size, "stored": stat.st_blocks * 512, "sha256": sha256}
        for path, stat, sha256 in stats
    ]
    width = max((cells(path) for path, _, _ in stats), default=0)
    lines = [
        f"{fitted(path, width)}  ({human_size(stat.st_blocks * 512)}"
        f"{f', sha256:{sha256[:_SHORT]}' if sha256 else ''})"
        for path, stat, sha256 in stats
    ]
    image = history.image or None
    return CommandAnswer(
        text="\n".join(lines),
        document=new_document("artefacts", artefacts=files, image=image, **summary_fields(history)),
    )


def _sha256(path: Path) -> str | None:
    """What the record beside it says, which was made with it."""
    record = checksum_path(path)
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

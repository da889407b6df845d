"""A store of input files in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dibo.plan.input_files import InputFile
from dibo.units import OnBytes


@dataclass
class MemoryInputs:
    """`asked` has a word for each question: `early`, or `urgent`."""

    files: dict[str, bytes] = field(default_factory=dict)
    """By sha256."""
    only_urgent: bool = False
    asked: list[str] = field(default_factory=list)

    def bring(
        self, file: InputFile, target: Path, *, on_bytes: OnBytes | None = None, urgent: bool = False
    ) -> bool:
        self.asked.append("urgent" if urgent else "early")
        content = self.files.get(file.sha256)
        if content is None or (self.only_urgent and not urgent):
            return False
        target.write_bytes(content)
        if on_bytes is not None:
            on_bytes(len(content), len(content))
        return True

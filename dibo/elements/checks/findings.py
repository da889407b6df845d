"""What a check says of an element."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum


class Severity(StrEnum):
    OBSTACLE = "obstacle"
    """The element does not run, or not to its end."""
    WARNING = "warning"
    """It runs; a cached layer may be stale, hold a secret, or differ from what its author sees elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementFinding:
    severity: Severity
    code: str
    """A word for machines, such as `loop-device`."""
    message: str
    advice: str
    path: str = ""
    """In the element."""
    line: int = 0
    """0 where the whole file is meant."""
    more: int = 0
    """How many later lines of the file have the same."""

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


def without_repeats(findings: Iterable[ElementFinding]) -> tuple[ElementFinding, ...]:
    """The first finding of each kind in a file, with the number of those after it."""
    first: dict[tuple[Severity, str, str, str], ElementFinding] = {}
    for finding in findings:
        whole = "" if finding.line else finding.message
        key = (finding.severity, finding.code, finding.path, whole)
        earlier = first.get(key)
        first[key] = finding if earlier is None else replace(earlier, more=earlier.more + 1)
    return tuple(first.values())

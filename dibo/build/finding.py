"""One thing that `dibo doctor` tried, and how engines and bases try things."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dibo.errors import DiboError
from dibo.system import process


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was tried. `needed` is false for what only some uses need."""

    title: str
    works: bool
    detail: str = ""
    advice: str = ""
    needed: bool = True

    def __str__(self) -> str:
        word = "ok" if self.works else "NO" if self.needed else "--"
        lines = [f"{word:3} {self.title}{f': {self.detail}' if self.detail else ''}"]
        if not self.works:
            lines += [f"      {line}" for line in self.advice.splitlines()]
        return "\n".join(lines)


def try_command(title: str, argv: list[str], *, advice: str, needed: bool = True) -> Finding:
    """Whether a command succeeds."""
    try:
        done = process.run(argv, capture=True, check=False, options=process.ProcessOptions(timeout=60))
    except DiboError as error:
        return Finding(
            title=title, works=False, detail=error.message, advice=error.hint or advice, needed=needed
        )
    detail = (
        "" if done.returncode == 0 else " ".join(done.tail[-1:]) or process.describe_exit(done.returncode)
    )
    return Finding(title=title, works=done.returncode == 0, detail=detail, advice=advice, needed=needed)


def try_check(title: str, check: Callable[[], object]) -> Iterator[Finding]:
    """Whether a check passes without a DiboError; a text that it returns is the detail."""
    try:
        detail = check()
        yield Finding(title=title, works=True, detail=detail if isinstance(detail, str) else "")
    except DiboError as error:
        yield Finding(title=title, works=False, detail=error.message, advice=error.hint)

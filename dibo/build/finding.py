"""One thing that `dibo doctor` tried, and how engines and bases try things."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dibo.errors import DiboError
from dibo.system import process


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was tried. `needed` is false for what only some uses need. `repair`, which `dibo doctor --fix`
    calls, does something about it without root, and says what."""

    title: str
    works: bool
    detail: str = ""
    advice: str = ""
    needed: bool = True
    repair: Callable[[], str] | None = field(default=None, compare=False, repr=False)

    @property
    def command(self) -> str:
        """The first command of the advice, or nothing. root needs no sudo, and may have none."""
        match = _COMMAND.search(self.advice)
        return "" if match is None else match[1].removeprefix("sudo ") if os.geteuid() == 0 else match[1]

    def __str__(self) -> str:
        word = "ok" if self.works else "NO" if self.needed else "--"
        lines = [f"{word:3} {self.title}{f': {self.detail}' if self.detail else ''}"]
        if not self.works:
            advice = self.advice.replace("sudo ", "") if os.geteuid() == 0 else self.advice
            lines += [f"      {line}" for line in advice.splitlines()]
            lines += ["      `dibo doctor --fix` does that"] * (self.repair is not None)
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


_COMMAND = re.compile(r"(?:^|: )((?:sudo|chmod|mkdir|unset|export) [^\n]+?)(?=, where |\n|$)")

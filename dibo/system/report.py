"""The door to the terminal: the only file that prints what is not an answer.

Answers (a plan, a list, a path) go to stdout through `answer`; everything else is progress or a warning and goes
to stderr. On a terminal the step under way shows its latest line and its age on one status line; elsewhere each
step is one line when it starts and one when it ends, so a CI log stays readable.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Final, Self

from dibo.errors import DiboError, Interrupted
from dibo.units import MIB

Say = Callable[[str], None]
"""Gets a line for the person who waits."""

_WRITTEN_OVER: Final = re.compile(r"[^\n]*\r(?=[^\r\n])|\r+(?=\n|$)")
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Report:
    """Says what goes on. Methods never raise for what they are told."""

    def __init__(self, stream: IO[str] | None = None, *, verbose: bool = False) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._live = self._stream.isatty()
        self._verbose = verbose
        self._warned: set[str] = set()
        self._status = False
        self._done, self._next = 0, MIB

    def say(self, text: str) -> None:
        self._clear()
        print(without_controls(text), file=self._stream, flush=True)

    def warn(self, text: str) -> None:
        """Once for each text."""
        if text not in self._warned:
            self._warned.add(text)
            self.say(f"dibo: warning: {text}")

    def error(self, error: DiboError) -> None:
        self.say(f"dibo: error: {error.message}")
        for line in without_controls(error.hint).splitlines():
            self.say(f"  {line}")

    def line(self, text: str) -> None:
        """A line of output of something under way: shown whole with -x, on a terminal as the status."""
        if self._verbose:
            self.say(f"    {without_controls(text)}")
        elif self._live:
            self._show(text)

    def progress(self, done: int, text: str) -> None:
        """How far something under way is, as `text`; `done` in bytes. On a terminal the status; with -x a line whenever
        `done` has doubled, from 1 MiB on."""
        if done < self._done:  # something else
            self._next = MIB
        self._done = done
        if self._live:
            self._show(text)
        if self._verbose and done >= self._next:
            self._next = 2 * done
            self.say(f"    {without_controls(text)}")

    def task(self, title: str) -> Task:
        """Something that takes a while: use as a context manager."""
        return Task(self, title)

    def _show(self, text: str) -> None:
        self._clear()
        self._stream.write("  " + "".join(c for c in text if c.isprintable())[:100])
        self._stream.flush()
        self._status = True

    def _clear(self) -> None:
        if self._status:
            self._stream.write("\r\x1b[2K")
            self._status = False


def without_controls(text: str) -> str:
    """The text with control characters written as escapes, but for tabs and line breaks: what hooks, registries and
    images say must not give orders to a terminal (ECMA-48), nor show words in another order (UAX #9). Of a line that
    was written over, such as a percentage, the last state."""
    return _CONTROLS.sub(_escaped, _WRITTEN_OVER.sub("", text))


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


class Task:
    """One line when it starts, one with its time when it ends."""

    def __init__(self, report: Report, title: str) -> None:
        self._report, self._title, self._note = report, title, ""

    def note(self, text: str) -> None:
        """Something to say of it when it ends, such as a size."""
        self._note = f", {text}"

    def __enter__(self) -> Self:
        self._begun = time.monotonic()
        self._report.say(f"{self._title} …")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        took = time.monotonic() - self._begun
        how = "done" if kind is None else "interrupted" if issubclass(kind, Interrupted) else "failed"
        self._report.say(f"{self._title}: {how} ({took:.1f} s{self._note})")


def answer(text: str) -> None:
    """Print the answer of a command, on stdout; at once, so that what is said of it afterwards comes after it."""
    print(without_controls(text) if sys.stdout.isatty() else text, flush=True)


def log_commands(report: Report) -> None:
    """With -x: show each command, as one could type it, before it runs."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            report.say(f"+ {record.getMessage()}")

    logger = logging.getLogger("dibo.system.process")
    logger.setLevel(logging.INFO)
    logger.addHandler(Handler())

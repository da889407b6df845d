"""The door to the terminal: the only file that prints what is not an answer.

Answers (a plan, a list, a path) go to stdout through `answer`; everything else is progress or a warning and goes
to stderr: on a terminal as rows that move (dibo.system.live_rows), elsewhere as one line when a step starts and one
when it ends (dibo.system.log_lines), so a CI log stays readable; with --json as events (dibo.api.documents).
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Final

from dibo.errors import DiboError, OutputError
from dibo.system.live_rows import LiveRows
from dibo.system.log_lines import Logged, LogLines
from dibo.system.task import LayerOutcome, Notice, Sink, Task
from dibo.system.terminal import encodable, is_terminal, look_of, size_of, without_controls

STDOUT: Final = "<stdout>"
Say = Callable[[str], None]
"""Gets a line for the person who waits."""


class History:
    """What a command did so far, for its summary."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.tasks: list[Task] = []
        """Those that have ended, by their number."""
        self.layers: dict[str, LayerOutcome] = {}
        """By key, in the order of the plan."""
        self.image = ""
        """The container image that was converted."""

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def last(self) -> int:
        """The number of the latest task that has ended; 0 before any."""
        return self.tasks[-1].number if self.tasks else 0

    def ended(self, task: Task) -> None:
        self.tasks = sorted([*self.tasks, task], key=lambda ended: ended.number)


class Report:
    """Says what goes on. Methods never raise for what they are told, and may be called from any thread."""

    def __init__(
        self,
        stream: IO[str] | None = None,
        *,
        verbose: bool = False,
        quiet: bool = False,
        sink: Sink | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """With `verbose`, all output of what runs is shown; with `quiet`, only warnings and errors."""
        stream = stream if stream is not None else sys.stderr
        self.columns = size_of(stream, environment)[0] if is_terminal(stream) else None
        """Width of the terminal; None where there is none."""
        self._sink = sink or sink_of(stream, environment, verbose=verbose, quiet=quiet)
        self._without_log = self._sink
        self._log: Logged | None = None
        self._warned: set[str] = set()
        self._numbers = itertools.count(1)
        self._open: list[Task] = []
        self._here = threading.local()
        self._main = threading.get_ident()
        self.history = History()
        self.check_cancelled: Callable[[], None] = lambda: None
        """Called by the main thread before each task; may raise, to end what the report is of."""

    def log_to(self, path: Path, *, quiet: bool) -> None:
        """Write everything to a file from now on. With `quiet`, only warnings and errors are shown besides. Raises
        OutputError."""
        try:
            stream = path.open("w", encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise OutputError(
                f"cannot write the log {path}: {error.strerror}", hint="choose another with --logfile"
            ) from error
        self._sink = self._log = Logged(self._without_log, stream, quiet=quiet)

    def log_error(self, error: DiboError) -> None:
        """Write an error to that file alone."""
        if self._log is not None:
            self._log.log_error(error)

    def end_log(self) -> None:
        """Write no file any more."""
        self._sink, self._log = self._without_log, None

    def restart(self) -> None:
        """What is told from now on is of the next of several runs: a warning counts as a new one."""
        self._warned.clear()
        self.history = History()

    def say(self, text: str) -> None:
        self._sink.message(text)

    def warn(self, text: str, *, subject: str = "") -> None:
        """Once for each text, and for each `subject` that it is of: an image, where there are several. What was said of
        none in particular is not repeated for one."""
        line = f"{subject}: {text}" if subject else text
        if not self._warned & {text, line}:
            self._warned.add(line)
            self._sink.warning(line)

    def error(self, error: DiboError) -> None:
        self._sink.error(error)

    def line(self, text: str) -> None:
        """A line of output of something under way: shown whole with -x, on a terminal as its last line."""
        task = self.current
        if task is not None:
            task.line(text)
        else:
            self._sink.output(None, text)

    def progress(self, done: int, total: int | None = None) -> None:
        """Bytes that are done of the task under way."""
        if (task := self.current) is not None:
            task.progress(done, total)

    def task(self, title: str, *, minor: bool = False) -> Task:
        """Something that takes a while: use as a context manager. A `minor` one is in no log."""
        if threading.get_ident() == self._main:
            self.check_cancelled()
        return Task(self._sink, next(self._numbers), title, minor=minor, on_change=self._changed)

    def layer(self, layer: LayerOutcome) -> None:
        """It is known where a layer came from. The first time counts."""
        if layer.key not in self.history.layers:
            self.history.layers[layer.key] = layer
            self._sink.layer(layer)

    def notice(self, name: str, fields: Mapping[str, object]) -> None:
        """An event for programs."""
        self._sink.notice(Notice(name=name, fields=fields))

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._sink.close()

    @property
    def current(self) -> Task | None:
        """The innermost task of this thread; for threads without one, that of the thread that made the report."""
        tasks = self._own() or self._open
        return tasks[-1] if tasks else None

    def _own(self) -> list[Task]:
        """The tasks of this thread that have not ended, the innermost last."""
        return [task for task in getattr(self._here, "tasks", []) if not task.outcome]

    def _changed(self, task: Task) -> None:
        """It has started, or ended."""
        own = self._own()
        if task.outcome:
            self._open = [opened for opened in self._open if opened is not task]
            self.history.ended(task)
        else:
            task.within = own[-1].number if own else None
            if threading.get_ident() == self._main:
                self._open = [*self._open, task]
            own.append(task)
        self._here.tasks = own


def sink_of(stream: IO[str], environment: Mapping[str, str], *, verbose: bool, quiet: bool) -> Sink:
    """How a report is shown on a stream."""
    look = look_of(stream, environment)
    if look.live:
        return LiveRows(stream, look, environment, verbose=verbose, quiet=quiet)
    return LogLines(stream, look, verbose=verbose, quiet=quiet)


def answer(text: str) -> None:
    """Print the answer of a command, on stdout; at once, so that what is said of it afterwards comes after it. Raises
    OSError with the filename STDOUT."""
    text = without_controls(text) if is_terminal(sys.stdout) else text
    try:
        print(encodable(text, sys.stdout), flush=True)
    except OSError as error:
        error.filename = STDOUT
        raise


def log_commands(report: Report) -> None:
    """With -x: show each command, as one could type it, before it runs."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            report.say(f"+ {record.getMessage()}")

    logger = logging.getLogger("dibo.system.process")
    logger.setLevel(logging.INFO)
    logger.addHandler(Handler())

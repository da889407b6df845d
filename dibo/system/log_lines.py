"""A report as lines of text: in a log, one when a step starts and one when it ends."""

from __future__ import annotations

import os
import sys
import threading
from typing import IO, Final

from dibo.errors import DiboError
from dibo.system.task import LayerOutcome, Notice, Sink, Task
from dibo.system.terminal import Look, encodable, one_line, shortened, without_controls
from dibo.units import MIB, human_size, human_time

_REMARK: Final = "|"
"""Begins a line of a hint that a hook wrote."""


class LogLines:
    """A Sink: what is shown stays where it is."""

    def __init__(self, stream: IO[str], look: Look, *, verbose: bool, quiet: bool) -> None:
        self._stream, self._look = stream, look
        self._verbose, self._quiet = verbose, quiet
        self._lock = threading.RLock()
        self._next: dict[int, int] = {}

    def started(self, task: Task) -> None:
        if not (self._quiet or task.minor):
            self._print(f"{_shown(task.title)} …")

    def progressed(self, task: Task) -> None:
        """With -x, a line whenever the bytes have doubled, from 1 MiB on."""
        if self._verbose and task.done >= self._next.get(task.number, MIB):
            self._next[task.number] = 2 * task.done
            self._print(f"    {bytes_text(task)}")

    def output(self, task: Task | None, text: str) -> None:  # noqa: ARG002
        if self._verbose:
            self._print(f"    {without_controls(text)}")

    def ended(self, task: Task) -> None:
        self._next.pop(task.number, None)
        if not (self._quiet or task.minor):
            outcome = self._look.styled(task.outcome, task.outcome)
            remark = f", {one_line(task.remark)}" if task.remark else ""
            self._print(_shown(task.title), f": {outcome} ({human_time(task.seconds)}{remark})")

    def layer(self, layer: LayerOutcome) -> None:
        pass  # the summary says it

    def notice(self, notice: Notice) -> None:
        pass

    def message(self, text: str) -> None:
        if not self._quiet:
            self._print(without_controls(text))

    def warning(self, text: str) -> None:
        self._print(f"{self._look.styled('dibo: warning:', 'warning')} {_shown(text)}")

    def error(self, error: DiboError) -> None:
        lines = [f"{self._look.styled('dibo: error:', 'error')} {_shown(error.message)}"]
        for line in without_controls(error.hint).splitlines():
            is_remark = line.startswith(_REMARK)
            lines.append(f"  {self._look.styled(line, 'faint') if is_remark else shortened(line)}")
        self._print("\n".join(lines))

    def close(self) -> None:
        pass

    def _print(self, *parts: str) -> None:
        with self._lock:
            self._write("".join((*parts, "\n")))

    def _write(self, text: str) -> None:
        """What cannot be written is dropped: the work goes on."""
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(encodable(text, self._stream))
            self._stream.flush()
        except (OSError, ValueError):
            if self._stream is sys.stderr:  # or Python would fail at its end, to write what is left
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            self._stream = open(os.devnull, "w")  # noqa: SIM115, PTH123


class Logged:
    """A Sink: what goes to `shown` also goes to `log`, whole. With `quiet`, `shown` gets only warnings and errors, and
    what is for programs."""

    def __init__(self, shown: Sink, log: IO[str], *, quiet: bool) -> None:
        self._shown, self._quiet = shown, quiet
        self._log = LogLines(log, Look(live=False, colour=False), verbose=True, quiet=False)

    def started(self, task: Task) -> None:
        self._log.started(task)
        if not self._quiet:
            self._shown.started(task)

    def progressed(self, task: Task) -> None:
        if not self._quiet:
            self._shown.progressed(task)

    def output(self, task: Task | None, text: str) -> None:
        self._log.output(task, text)
        if not self._quiet:
            self._shown.output(task, text)

    def ended(self, task: Task) -> None:
        self._log.ended(task)
        if not self._quiet:
            self._shown.ended(task)

    def layer(self, layer: LayerOutcome) -> None:
        self._shown.layer(layer)

    def notice(self, notice: Notice) -> None:
        self._shown.notice(notice)

    def message(self, text: str) -> None:
        self._log.message(text)
        if not self._quiet:
            self._shown.message(text)

    def warning(self, text: str) -> None:
        self._log.warning(text)
        self._shown.warning(text)

    def error(self, error: DiboError) -> None:
        self._log.error(error)
        self._shown.error(error)

    def log_error(self, error: DiboError) -> None:
        self._log.error(error)

    def close(self) -> None:
        self._shown.close()


def _shown(text: str) -> str:
    return shortened(without_controls(text))


def bytes_text(task: Task) -> str:
    """How far it is, such as `12 MiB of 48 MiB, 6 MiB/s`."""
    total = f" of {human_size(task.total)}" if task.total else ""
    rate = f", {human_size(int(task.rate))}/s" if task.rate else ""
    return f"{human_size(task.done)}{total}{rate}"

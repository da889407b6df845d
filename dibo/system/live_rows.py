"""A report on a terminal: what has ended stays as lines, what is under way are rows below them, drawn by rich.

Each task has a row of its own: a build and the upload of the layer before it go on at the same time, and either may be
what one waits for. Layers that are pulled in several threads for one image are one task, so they are one row.

The cursor waits at the start of the first row. Terminals that wrap lines anew when they become narrower keep it at that
character, others at that line: from there on everything can be erased, whatever became of the rows meanwhile. Lines do
not wrap while rows are drawn, so a character that is wider than rich thinks makes no row more. The cursor is not
hidden: after SIGKILL or ^Z it would stay hidden.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Final

from dibo.system.log_lines import LogLines, bytes_text
from dibo.system.task import Task
from dibo.system.terminal import Look, one_line, size_of
from dibo.units import human_time

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_ERASE: Final = "\r\x1b[J"  # from the cursor to the end of the screen (ECMA-48, ED)
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"  # DECAWM
_INTERVAL_SECONDS: Final = 0.2
_SHORT_SECONDS: Final = 0.3
"""What takes no longer has no row."""
_BAR: Final = ((100, 24), (70, 14))
"""Width of a bar from so many columns on."""
_FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class LiveRows(LogLines):
    """A Sink for terminals. rich is imported when the first row is drawn."""

    def __init__(
        self, stream: IO[str], look: Look, environment: Mapping[str, str], *, verbose: bool, quiet: bool
    ) -> None:
        super().__init__(stream, look, verbose=verbose, quiet=quiet)
        self._environment = environment
        self._tasks: dict[int, Task] = {}
        self._shown = False
        self._console: Console | None = None
        self._thread: threading.Thread | None = None
        self._work = threading.Event()
        self._closed = threading.Event()

    def started(self, task: Task) -> None:
        if self._quiet:
            return
        with self._lock:
            self._tasks[task.number] = task
            self._work.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._draw_on, name="terminal", daemon=True)
                self._thread.start()

    def ended(self, task: Task) -> None:
        with self._lock:
            self._tasks.pop(task.number, None)
            if not self._tasks:
                self._work.clear()
            super().ended(task)
            if not self._tasks:
                self._erase()

    def close(self) -> None:
        with self._lock:
            self._closed.set()
            self._tasks.clear()
            self._erase()
        self._work.set()
        if self._thread is not None:
            self._thread.join()

    def _print(self, *parts: str) -> None:
        with self._lock:
            begin, self._shown = _ERASE if self._shown else "", False
            self._write("".join((begin, *parts, "\n", self._rows())))

    def _draw_on(self) -> None:
        while not self._closed.is_set():
            self._work.wait()
            self._closed.wait(_INTERVAL_SECONDS)
            with self._lock:
                if any(task.elapsed >= _SHORT_SECONDS for task in self._tasks.values()):
                    self._console = self._console or _console(self._stream, self._look)
                    begin = _ERASE if self._shown else ""
                    self._write(begin + self._rows())

    def _rows(self) -> str:
        """What draws the rows, and takes the cursor back to the first."""
        console = self._console
        tasks = [task for task in self._tasks.values() if task.elapsed >= _SHORT_SECONDS]
        if console is None or not tasks:
            return ""
        columns, lines = size_of(self._stream, self._environment)
        console.width = max(1, columns - 1)
        with console.capture() as capture:
            for task in tasks:
                console.print(_row(task, columns), no_wrap=True, overflow="ellipsis", crop=True)
                if task.hook or task.last_line:
                    console.print(_output_row(task), no_wrap=True, overflow="ellipsis", crop=True)
        rows = capture.get().splitlines()[: max(1, lines - 1)]
        self._shown = True
        up = f"\x1b[{len(rows) - 1}A" if len(rows) > 1 else ""
        return "".join((_NO_WRAP, "\r\n".join(rows), _WRAP, "\r", up))

    def _erase(self) -> None:
        if self._shown:
            self._shown = False
            self._write(_ERASE)


def _console(stream: IO[str], look: Look) -> Console:
    from rich.console import Console

    return Console(
        file=stream,
        force_terminal=True,
        color_system="standard" if look.colour else None,
        no_color=not look.colour,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _row(task: Task, columns: int) -> RenderableType:
    """Title, bar, bytes, time."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    cells: list[RenderableType] = [
        Text.assemble((_FRAMES[int(task.elapsed * 5) % len(_FRAMES)], "cyan"), f" {one_line(task.title)}")
    ]
    bar = next((width for least, width in _BAR if columns >= least), 0)
    if task.total and bar:
        grid.add_column(no_wrap=True, width=bar)
        cells.append(ProgressBar(total=task.total, completed=min(task.done, task.total), width=bar))
    if task.done:
        grid.add_column(no_wrap=True, justify="right")
        cells.append(Text(bytes_text(task).replace(" of ", "/").replace(", ", " ")))
    grid.add_column(no_wrap=True, justify="right")
    cells.append(Text(human_time(int(task.elapsed)), style="cyan"))
    grid.add_row(*cells)
    return grid


def _output_row(task: Task) -> RenderableType:
    """The hook that runs, and its last line."""
    from rich.text import Text

    hook = one_line(task.hook)
    line = one_line(task.last_line)
    return Text.assemble("  ", (hook, "bold"), " │ " if hook and line else "", (line, "dim"))

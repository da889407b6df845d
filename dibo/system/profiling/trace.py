"""What a command does when, for --profile: tasks, their parts, and other programs, in the Trace Event Format of Chrome.

    {"traceEvents": [{"ph": "X", "name": …, "cat": …, "ts": µs, "dur": µs, "pid": …, "tid": …, "args": {…}}, …], …}

(https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU). Each thread is a row.
Programs run beside each other and beside threads, so they have rows of their own: the first that is free.
Times are of CLOCK_MONOTONIC, which all processes of a machine share: workers write their events to files in a
directory that the environment names, and their command puts all together.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

PARTS: Final = "DIBO_PROFILE_PARTS"
"""Names the directory to workers, which inherit it."""
_PROGRAMS: Final = 1 << 22
"""The first row of programs: numbers of threads are smaller (proc(5), pid_max)."""
_LONGEST: Final = 500
"""Characters of a command line."""
Event = dict[str, Any]


class TaskProfile(Protocol):
    """The part of a profile that is about one task. Methods may be called from any thread."""

    def part(self, name: str) -> None:
        """A part of it begins, and the one before ends."""

    def end(self) -> None: ...


class _Nothing:
    """In the place of all of these while there is no profile."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def part(self, name: str) -> None:
        pass

    def end(self) -> None:
        pass


_OFF: Final = _Nothing()
NOTHING: Final[TaskProfile] = _OFF


class _Span:
    """Something that takes from here to its end, in one thread; with parts."""

    def __init__(self, trace: _Trace, name: str, kind: str) -> None:
        self._trace, self._name, self._kind = trace, name, kind
        self._thread = trace.thread()
        self._part: tuple[str, float] | None = None
        self._begun = time.monotonic()

    def part(self, name: str) -> None:
        now = self._end_part()
        self._part = (name, now)

    def _end_part(self) -> float:
        now = time.monotonic()
        if self._part is not None:
            name, begun = self._part
            self._trace.add(name, "part", begun, now, self._thread)
            self._part = None
        return now

    def end(self) -> None:
        self._trace.add(self._name, self._kind, self._begun, self._end_part(), self._thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


class _Trace:
    """The events of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._named: set[int] = set()
        self._running: set[int] = set()
        self.events: list[Event] = []

    def add(
        self,
        name: str,
        kind: str,
        begun: float,
        ended: float,
        row: int,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Times in seconds of time.monotonic."""
        self.events.append(
            {
                "ph": "X",
                "name": name,
                "cat": kind,
                "ts": round(begun * 1e6, 1),
                "dur": round((ended - begun) * 1e6, 1),
                "pid": os.getpid(),
                "tid": row,
                "args": dict(details or {}),
            }
        )

    def thread(self) -> int:
        """The row of this thread."""
        row = threading.get_native_id()
        self._name(row, threading.current_thread().name)
        return row

    def _name(self, row: int, name: str) -> None:
        if row not in self._named:
            self._named.add(row)
            self.describe("thread_name", row, name)

    def describe(self, event: str, row: int, name: str) -> None:
        """Give a row, or the process, a name ("Metadata Events")."""
        self.events.append({"ph": "M", "name": event, "pid": os.getpid(), "tid": row, "args": {"name": name}})

    def program(self, argv: Sequence[str]) -> Callable[[], None]:
        """A program starts; what is returned is to be called when it has ended, and may be called again."""
        with self._lock:
            row = next(row for row in range(_PROGRAMS, 2 * _PROGRAMS) if row not in self._running)
            self._running.add(row)
            self._name(row, "programs")
        begun, line = time.monotonic(), shlex.join(argv)[:_LONGEST]

        def end() -> None:
            with self._lock:
                if row not in self._running or ended:
                    return
                ended.append(True)
                self._running.discard(row)
            self.add(_short(argv), "program", begun, time.monotonic(), row, {"command": line})

        ended: list[bool] = []
        return end


def _short(argv: Sequence[str]) -> str:
    """A program as people call it: with its first words, and the script that a shell runs."""
    words = [Path(word).name for word in argv if not word.startswith("-")]
    return " ".join(words[:4])[:60]


_trace: _Trace | None = None


def task(title: str) -> TaskProfile:
    """A task begins in this thread."""
    return NOTHING if _trace is None else _Span(_trace, title, "task")


def span(name: str) -> contextlib.AbstractContextManager[object]:
    """Something within a task, or between tasks: a context manager."""
    return _OFF if _trace is None else _Span(_trace, name, "span")


def spanned(work: Callable[..., None], name: str) -> Callable[..., None]:
    """`work`, as a span."""
    if _trace is None:
        return work

    def run(*arguments: object) -> None:
        with span(name):
            work(*arguments)

    return run


def program(argv: Sequence[str]) -> Callable[[], None]:
    """Another program starts. What is returned is to be called when it has ended."""
    return NOTHING.end if _trace is None else _trace.program(argv)


@contextlib.contextmanager
def recording(write: Callable[[str], None], *, title: str) -> Iterator[None]:
    """A profile of what follows, from the start of this process; `write` gets it as JSON, whatever ends it."""
    with tempfile.TemporaryDirectory(prefix="dibo-profile-") as parts:
        os.environ[PARTS] = parts
        try:
            with _recorded(title) as trace:
                yield
        finally:
            del os.environ[PARTS]
            write(_document(trace.events, Path(parts)))


@contextlib.contextmanager
def recording_part() -> Iterator[None]:
    """The profile of a worker, if its command writes one."""
    if PARTS not in os.environ:
        yield
        return
    path = Path(os.environ[PARTS]) / f"{os.getpid()}.json"
    try:
        with _recorded("worker") as trace:
            yield
    finally:
        with contextlib.suppress(OSError):  # its command has ended
            path.write_text(json.dumps(trace.events))


@contextlib.contextmanager
def _recorded(title: str) -> Iterator[_Trace]:
    global _trace
    trace = _trace = _Trace()
    trace.describe("process_name", 0, title)
    started = _started()
    trace.add("Python starts, imports", "span", started, time.monotonic(), trace.thread())
    begun = started
    try:
        yield trace
    finally:
        _trace = None
        trace.add(title, "command", begun, time.monotonic(), trace.thread())


def _started() -> float:
    """When this process was started, on the clock of time.monotonic (proc_pid_stat(5), starttime, in ticks of the
    clock that goes on while the machine sleeps)."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return time.monotonic()
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - max(age, 0.0)


def _document(events: Sequence[Event], parts: Path) -> str:
    """Of this process, and of its workers that ended in order."""
    everything = list(events)
    for path in sorted(parts.glob("*.json")):
        with contextlib.suppress(ValueError):
            everything += json.loads(path.read_text())
    about = {
        "command": shlex.join(sys.argv)[:_LONGEST],
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
    }
    lines = ",\n".join(json.dumps(event) for event in everything)
    return f'{{"displayTimeUnit": "ms", "otherData": {json.dumps(about)}, "traceEvents": [\n{lines}\n]}}\n'

"""Something that takes a while, as people and programs see it: title, bytes, the hook that runs and what it says."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

from dibo.errors import DiboError, Interrupted
from dibo.system.profiling import trace as profiling

DONE: Final = "done"
FAILED: Final = "failed"
INTERRUPTED: Final = "interrupted"
CACHED: Final = "cached"
"""Origin of a layer: the engine's store had it."""
PULLED: Final = "pulled"
"""A registry gave it."""
BUILT: Final = "built"
SHARED: Final = "shared"
"""Another build on this machine made it meanwhile."""
_WINDOW_SECONDS: Final = 5.0
_SAMPLE_SECONDS: Final = 0.25


class Sink(Protocol):
    """Where a report goes to. No method raises; each may be called from any thread."""

    def started(self, task: Task) -> None: ...

    def progressed(self, task: Task) -> None:
        """More bytes are done. Called often."""

    def output(self, task: Task | None, text: str) -> None:
        """A line of output of something under way."""

    def ended(self, task: Task) -> None: ...

    def layer(self, layer: LayerOutcome) -> None:
        """It is known where a layer came from."""

    def notice(self, notice: Notice) -> None:
        """Something for programs alone: people see it in another way."""

    def message(self, text: str) -> None: ...

    def warning(self, text: str) -> None: ...

    def error(self, error: DiboError) -> None: ...

    def close(self) -> None:
        """Nothing follows for now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOutcome:
    """A layer, and where it came from."""

    key: str
    title: str
    origin: str
    """One of those above."""
    registry: str = ""
    task: int | None = None
    """The number of the task that made or pulled it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """An event for programs: its name, and what it says, as JSON has it."""

    name: str
    fields: Mapping[str, object]


class Task:
    """A context manager. In a log, a line when it starts and one when it ends, but for `minor` ones, which only a
    terminal shows while they last."""

    def __init__(
        self, sink: Sink, number: int, title: str, *, minor: bool, on_change: Callable[[Task], None]
    ) -> None:
        """`on_change` gets it when it starts, and when it has ended."""
        self._sink, self._on_change = sink, on_change
        self.number, self.title, self.minor = number, title, minor
        self.within: int | None = None
        """The number of the task that it is a part of."""
        self.began = time.monotonic()
        self.seconds = 0.0
        """How long it took, once it has ended."""
        self.outcome = ""
        """done, failed or interrupted, once it has ended."""
        self.remark = ""
        self.done, self.total = 0, 0
        """Bytes; no `total`, if it is not known."""
        self.hook = ""
        self.last_line = ""
        self._samples: deque[tuple[float, int]] = deque(maxlen=int(_WINDOW_SECONDS / _SAMPLE_SECONDS))
        self._profile = profiling.NOTHING

    def note(self, text: str) -> None:
        """Something to say of it when it ends, such as a size."""
        self.remark = text

    def progress(self, done: int, total: int | None = None) -> None:
        """So many bytes are done, of `total` where that is known."""
        now = time.monotonic()
        if done < self.done:  # once more from the start
            self._samples.clear()
        if not self._samples or now - self._samples[-1][0] >= _SAMPLE_SECONDS:
            self._samples.append((now, done))
        self.done, self.total = done, total or 0
        self._sink.progressed(self)

    def running(self, hook: str) -> None:
        """A hook, or another part of it, starts."""
        self.hook, self.last_line = hook, ""
        self._profile.part(hook)
        self._sink.output(self, hook)

    def stage(self, name: str) -> None:
        """A part of it starts that only profiles show."""
        self._profile.part(name)

    def line(self, text: str) -> None:
        """A line of its output."""
        self.last_line = text
        self._sink.output(self, text)

    @property
    def elapsed(self) -> float:
        """Seconds."""
        return self.seconds if self.outcome else time.monotonic() - self.began

    @property
    def rate(self) -> float:
        """Bytes in a second, of late; 0 if not known."""
        samples = list(self._samples)
        if not samples or (passed := time.monotonic() - samples[0][0]) < 2 * _SAMPLE_SECONDS:
            return 0.0
        return max(0.0, (self.done - samples[0][1]) / passed)

    def __enter__(self) -> Self:
        self._profile = profiling.task(self.title)
        self.began = time.monotonic()
        self._on_change(self)
        self._sink.started(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.monotonic() - self.began
        self._profile.end()
        interrupted = kind is not None and issubclass(kind, Interrupted | KeyboardInterrupt)
        self.outcome = DONE if kind is None else INTERRUPTED if interrupted else FAILED
        self._on_change(self)
        self._sink.ended(self)

"""Which task starts next: a state machine without a clock.

Of the tasks that could start, the one with the longest way to the end goes first: it is what the whole bake waits for.
At most so many run at once, and no more than memory allows; one that needs more than there is runs alone. A task that
fails takes with it what needs it, and nothing else.

Not for several threads: a caller that has some holds a lock.
"""

from __future__ import annotations

import enum
from bisect import insort
from collections.abc import Sequence

from dibo.bake.graph import BakeTask


class TaskState(enum.Enum):
    """How far a task is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """Something that it needs failed, or all were stopped, before it began."""


ENDED = frozenset({TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED})


class Schedule:
    """Tasks, and how far each is. `slots` and `memory` (bytes) bound what `next` gives; None: there is no bound."""

    def __init__(
        self, tasks: Sequence[BakeTask], *, slots: int | None = None, memory: int | None = None
    ) -> None:
        """Each task must come after those that it needs. Raises ValueError for other orders, and for equal ids."""
        self._tasks: dict[str, BakeTask] = {}
        self._slots, self._memory = slots, memory
        for task in tasks:
            if task.id in self._tasks:
                raise ValueError(f"two tasks are called {task.id}")
            if not self._tasks.keys() >= set(task.needs):
                raise ValueError(f"{task.id} comes before what it needs: {', '.join(task.needs)}")
            self._tasks[task.id] = task
        self._states = dict.fromkeys(self._tasks, TaskState.WAITING)
        self._above: dict[str, list[str]] = {name: [] for name in self._tasks}
        for task in tasks:
            for need in dict.fromkeys(task.needs):
                self._above[need].append(task.id)
        self._ways = self._longest_ways()
        in_order = sorted(self._tasks, key=lambda name: -self._ways[name])  # stable
        self._rank = {name: rank for rank, name in enumerate(in_order)}
        self._missing = {task.id: len(set(task.needs)) for task in tasks}
        """How many of the tasks that it needs are not done."""
        self._ready = [name for name in in_order if not self._missing[name]]
        """Those that could start now, by rank."""

    def _longest_ways(self) -> dict[str, float]:
        ways: dict[str, float] = {}
        for name in reversed(self._tasks):
            above = max((ways[later] for later in self._above[name]), default=0.0)
            ways[name] = self._tasks[name].seconds + above
        return ways

    @property
    def critical_seconds(self) -> float:
        """The longest way of all: no number of workers is faster."""
        return max(self._ways.values(), default=0.0)

    @property
    def finished(self) -> bool:
        return all(state in ENDED for state in self._states.values())

    @property
    def running(self) -> tuple[BakeTask, ...]:
        return self._in_state(TaskState.RUNNING)

    def _in_state(self, state: TaskState) -> tuple[BakeTask, ...]:
        return tuple(self._tasks[name] for name, its in self._states.items() if its is state)

    def state(self, task: str) -> TaskState:
        return self._states[task]

    def seconds_to_end(self, task: str) -> float:
        """How long it takes from the start of this task to the end of the last that needs it, at least."""
        return self._ways[task]

    def ready(self) -> tuple[BakeTask, ...]:
        """All that could start now if there were workers, the most urgent first."""
        return tuple(self._tasks[name] for name in self._ready)

    def _set(self, name: str, state: TaskState) -> None:
        """Note how far a task is, and what may start by that, or no longer."""
        is_ready = self._states[name] is TaskState.WAITING and not self._missing[name]
        self._states[name] = state
        if is_ready:
            self._ready.remove(name)
        elif state is TaskState.WAITING:
            insort(self._ready, name, key=self._rank.__getitem__)
        if state is TaskState.DONE:
            for later in self._above[name]:
                self._missing[later] -= 1
                if not self._missing[later] and self._states[later] is TaskState.WAITING:
                    insort(self._ready, later, key=self._rank.__getitem__)

    def next(self) -> BakeTask | None:
        """The most urgent that may start now, within the bounds. None: wait until one ends."""
        running = self.running
        if self._slots is not None and len(running) >= self._slots:
            return None
        taken = sum(task.memory for task in running)
        for task in self.ready():
            if self._memory is None or not running or taken + task.memory <= self._memory:
                return task
        return None

    def start(self, task: str) -> None:
        """It runs. Raises ValueError if it may not yet, or has been."""
        if task not in self._ready:
            raise ValueError(f"{task} cannot start: it is {self._states[task].value}")
        self._set(task, TaskState.RUNNING)

    def done(self, task: str) -> None:
        self._end(task, TaskState.DONE)

    def failed(self, task: str) -> tuple[BakeTask, ...]:
        """It failed; gives those that are cancelled by that: all that need it, directly or not."""
        self._end(task, TaskState.FAILED)
        cancelled: list[BakeTask] = []
        queue = [task]
        while queue:
            for name in self._above[queue.pop(0)]:
                if self._states[name] is TaskState.WAITING:
                    self._set(name, TaskState.CANCELLED)
                    cancelled.append(self._tasks[name])
                    queue.append(name)
        return tuple(cancelled)

    def lost(self, task: str) -> None:
        """Its worker is gone: it waits again."""
        self._end(task, TaskState.WAITING)

    def stop(self) -> tuple[BakeTask, ...]:
        """Nothing more starts; gives those that are cancelled by that. What runs goes on."""
        cancelled = self._in_state(TaskState.WAITING)
        for task in cancelled:
            self._set(task.id, TaskState.CANCELLED)
        return cancelled

    def _end(self, task: str, state: TaskState) -> None:
        if self._states[task] is not TaskState.RUNNING:
            raise ValueError(f"{task} does not run: it is {self._states[task].value}")
        self._set(task, state)

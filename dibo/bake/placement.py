"""Which worker of a fleet does which task; without a clock, for a cluster and for simulations.

A worker has what tasks ask for: architectures, an engine that builds in its sandbox, QEMU for tests, memory. Of the
tasks that can start, the most urgent goes first; a worker whose store has the layer that a task starts from does not
fetch it, which counts as much as so many seconds of urgency. Of several workers that suit, it is the one that was
faster than the others so far. A worker that has too little memory for a task gets it if no worker has enough, and then
nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from dibo.bake.graph import SECONDS_PULL, ArtefactTask, BakeTask, Chain, TestTask

Urgency = Callable[[str], float]
"""Seconds from the start of a task, by its id, to the end of the last that needs it."""
_WEIGHT: Final = 0.3
"""Of the last task in what is known of the speed of a worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetWorker:
    """A worker, and what it has."""

    name: str
    architectures: frozenset[str]
    """Of the images that it can build, as `BakeTask.architecture` says them."""
    memory: int
    """Bytes."""
    slots: int = 1
    """Tasks at a time."""
    builds: bool = True
    """Whether it has an engine, and that the sandbox that was asked for."""
    boots: bool = True
    """Whether it has what tests need: QEMU."""

    def can_do(self, task: BakeTask) -> bool:
        """Whether it has what the task asks for, memory aside."""
        match task.work:
            case Chain():
                return self.builds and task.architecture in self.architectures
            case ArtefactTask():
                return True  # bytes are placed, whatever machine they are for
            case TestTask():
                return self.boots


@dataclass(slots=True, kw_only=True)
class _Member:
    worker: FleetWorker
    running: dict[str, BakeTask] = field(default_factory=dict)
    slowness: float = 1.0
    """How long tasks took, beside the estimates."""

    @property
    def free_memory(self) -> int:
        return self.worker.memory - sum(task.memory for task in self.running.values())

    def has_room(self, task: BakeTask) -> bool:
        if len(self.running) >= self.worker.slots:
            return False
        return task.memory <= self.free_memory or not self.running


class FleetPlacement:
    """The workers of a fleet, what each does, and which layers it has. Not for several threads."""

    def __init__(self, workers: Iterable[FleetWorker] = ()) -> None:
        self._members: dict[str, _Member] = {}
        self._holders: dict[str, set[str]] = {}
        for worker in workers:
            self.add(worker)

    @property
    def workers(self) -> tuple[FleetWorker, ...]:
        return tuple(member.worker for member in self._members.values())

    def add(self, worker: FleetWorker) -> None:
        """Raises ValueError for a name that is taken."""
        if worker.name in self._members:
            raise ValueError(f"two workers are called {worker.name}")
        self._members[worker.name] = _Member(worker=worker)

    def remove(self, name: str) -> tuple[BakeTask, ...]:
        """The worker is gone; gives the tasks that it did."""
        member = self._members.pop(name)
        for holders in self._holders.values():
            holders.discard(name)
        return tuple(member.running.values())

    def suitable(self, task: BakeTask) -> tuple[FleetWorker, ...]:
        """Those that could do the task, busy or not."""
        able = [worker for worker in self.workers if worker.can_do(task)]
        large = [worker for worker in able if worker.memory >= task.memory]
        return tuple(large or able)

    def choose(
        self, ready: Sequence[BakeTask], urgency: Urgency, *, avoid: Iterable[tuple[str, str]] = ()
    ) -> tuple[BakeTask, str] | None:
        """Which of the tasks begins now, and on which worker; None: wait until something ends. `ready` has the most
        urgent first. `avoid` are pairs of a task and a worker that it is not given to while there is another."""
        idle = [member for member in self._members.values() if len(member.running) < member.worker.slots]
        if not idle:
            return None
        avoided = set(avoid)
        pairs = [
            (task, member)
            for task in _different(ready, {name for name, _ in avoided})
            for member in self._free(task, idle, avoided)
        ]
        if not pairs:
            return None
        task, member = max(pairs, key=lambda pair: self._merit(pair[0], pair[1], urgency))
        return task, member.worker.name

    def _free(
        self, task: BakeTask, idle: Sequence[_Member], avoided: set[tuple[str, str]]
    ) -> Iterator[_Member]:
        suitable = {worker.name for worker in self.suitable(task)}
        others = {name for name in suitable if (task.id, name) not in avoided} or suitable
        return (member for member in idle if member.worker.name in others and member.has_room(task))

    def _merit(self, task: BakeTask, member: _Member, urgency: Urgency) -> tuple[float, float, float]:
        """How well they suit each other: the largest is chosen, and of equals the first."""
        fetches = isinstance(task.work, Chain) and not all(
            member.worker.name in self._holders.get(need, ()) for need in task.needs
        )
        busy = len(member.running) / member.worker.slots
        return urgency(task.id) - SECONDS_PULL * fetches, -member.slowness, -busy

    def start(self, task: BakeTask, worker: str) -> None:
        self._members[worker].running[task.id] = task

    def end(self, task: BakeTask, worker: str, *, seconds: float | None) -> None:
        """It has ended. If it is done, after so many seconds, the worker's store has its layers, and those that it
        needs; None: it failed."""
        member = self._members.get(worker)
        if member is None:
            return
        del member.running[task.id]
        if seconds is None:
            return
        for name in (task.id, *task.needs):
            self._holders.setdefault(name, set()).add(worker)
        if task.seconds > 0:
            member.slowness += _WEIGHT * (seconds / task.seconds - member.slowness)


def _different(tasks: Sequence[BakeTask], special: set[str]) -> Iterator[BakeTask]:
    """The first of those that ask for the same and begin with the same layer; and those that are `special`."""
    known: set[object] = set()
    for task in tasks:
        if task.id in special:
            yield task
            continue
        below = task.needs if isinstance(task.work, Chain) else ()
        kind = (below, task.memory, type(task.work), "" if below else task.architecture)
        if kind not in known:
            known.add(kind)
            yield task

"""A bake on a cluster: which worker has which task, what becomes of tasks whose worker ends, and what comes back.

The client decides (dibo.bake.schedule, dibo.bake.placement) and Dask carries: each task is submitted to one worker,
once. A worker that ends loses its tasks, and they go to others, a few times; so does a task that failed for a reason of
its worker. A task whose hook fails does not: it would fail everywhere.
"""

from __future__ import annotations

import pickle
import queue
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from dibo.api.baking.planning import PlannedBake
from dibo.api.baking.progress import BakeProgress, result_of
from dibo.api.baking.spec import TaskOutcome
from dibo.api.baking.view import TaskView
from dibo.api.fleet.cluster import Cluster
from dibo.api.fleet.exchange import Exchange
from dibo.api.fleet.orders import LARGEST, FleetOrder, FleetOutcome
from dibo.bake.events import title_of
from dibo.bake.graph import BakeTask, tasks_of
from dibo.bake.placement import FleetPlacement, FleetWorker
from dibo.bake.report import TaskResult
from dibo.bake.schedule import Schedule
from dibo.errors import (
    CommandFailed,
    Defect,
    DiboError,
    EngineError,
    OutputError,
    RegistryError,
    ToolMissing,
    Unreachable,
)
from dibo.system.report import Report

ATTEMPTS: Final = 3
"""Of one task, all workers together."""
_WORKER_SECONDS: Final = 120.0
"""Until a worker must come for a task that none can do."""
_LOOK_SECONDS: Final = 1.0
_END_SECONDS: Final = 20.0
_OF_THE_WORKER: Final = (EngineError, ToolMissing, OutputError, RegistryError, Unreachable, CommandFailed)
"""Failures that another worker, or another time, need not have."""


class _Lost:
    """The worker has ended."""


@dataclass(slots=True, kw_only=True)
class _Run:
    """A task that a worker has."""

    task: BakeTask
    worker: str
    messages: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    """What the worker says of it; a Future that is done; _Lost."""
    future: Any = None


def bake_on(
    planned: PlannedBake,
    report: Report,
    cluster: Cluster,
    exchange: Exchange,
    *,
    workers: Sequence[FleetWorker],
    stop_on_failure: bool = False,
) -> tuple[TaskResult, ...]:
    """Carry out all tasks on the workers of a cluster; how each ended, in the order of the graph. Raises EngineError
    for a task that no worker can do."""
    tasks = tasks_of(planned.graph)
    progress = BakeProgress(planned, tasks, report, schedule=Schedule(tasks), stop_on_failure=stop_on_failure)
    placement = FleetPlacement(workers)
    require_able(placement, tasks)
    return _FleetBake(planned, cluster, exchange, progress, placement).results()


def require_able(placement: FleetPlacement, tasks: tuple[BakeTask, ...]) -> None:
    """Raises EngineError for a task that no worker can do."""
    for task in tasks:
        if not placement.suitable(task):
            raise EngineError(
                f"no worker can do {task.id[:40]}, which {', '.join(task.images[:3])} needs: {needs_of(task)}",
                hint="`dibo doctor build` on a worker says what it lacks",
            )


def needs_of(task: BakeTask) -> str:
    """What a worker must have for it, in words."""
    kind = type(task.work).__name__
    words = {"Chain": f"an engine that builds for {task.architecture}", "TestTask": "QEMU"}
    return words.get(kind, "nothing but dibo")


class _FleetBake:
    def __init__(
        self,
        planned: PlannedBake,
        cluster: Cluster,
        exchange: Exchange,
        progress: BakeProgress,
        placement: FleetPlacement,
    ) -> None:
        self._planned, self._report = planned, cluster.report
        self._cluster, self._exchange = cluster, exchange
        self._progress, self._schedule = progress, progress.schedule
        self._placement = placement
        self._topic = f"dibo-{secrets.token_hex(8)}"
        self._runs: dict[str, _Run] = {}
        self._attempts: dict[str, list[str]] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self._faults: list[BaseException] = []
        self._idle_since: float | None = None

    def results(self) -> tuple[TaskResult, ...]:
        client = self._cluster.client
        client.subscribe_topic(self._topic, self._hear)
        with ExitStack() as stack, self._progress:
            stack.callback(client.unsubscribe_topic, self._topic)
            try:
                with self._exchange.offered():
                    self._work()
            except BaseException:
                self._stop()
                raise
        return self._progress.results

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """What a worker says of a task. In a thread of Dask's."""
        _, message = event
        run = self._runs.get(str(message.get("task")))
        if run is not None and message.get("worker") == run.worker:
            run.messages.put(pickle.loads(message["message"]))  # noqa: S301 (workers are trusted with all that they make)

    def _work(self) -> None:
        looked = 0.0
        while True:
            with self._changed:
                if self._faults:
                    raise self._faults[0]
                if self._schedule.finished and not self._runs:
                    return
                self._place()
                self._changed.wait(_LOOK_SECONDS)
            if time.monotonic() - looked >= _LOOK_SECONDS:
                self._look_at_workers()
                looked = time.monotonic()

    def _place(self) -> None:
        """Begin what can begin."""
        avoid = [(name, worker) for name, workers in self._attempts.items() for worker in workers]
        while (
            chosen := self._placement.choose(
                self._schedule.ready(), self._schedule.seconds_to_end, avoid=avoid
            )
        ) is not None:
            task, worker = chosen
            self._placement.start(task, worker)
            run = self._runs[task.id] = _Run(task=task, worker=worker)
            self._progress.started(task, worker=self._cluster.names.get(worker, worker))
            threading.Thread(target=self._carry_out, args=(run,), daemon=True).start()
        self._fail_what_waits_for_workers()

    def _fail_what_waits_for_workers(self) -> None:
        """When no worker has been able to do a task for some time, none will come."""
        orphans = [task for task in self._schedule.ready() if not self._placement.suitable(task)]
        if not orphans:
            self._idle_since = None
            return
        now = time.monotonic()
        if self._idle_since is None:
            self._idle_since = now
            self._report.warn(f"no worker is left that has {needs_of(orphans[0])}: waiting for one")
        elif now - self._idle_since > _WORKER_SECONDS:
            for task in orphans:
                error = EngineError(
                    f"no worker with {needs_of(task)} came within {_WORKER_SECONDS:g} s",
                    hint="start one: dask worker HOST:PORT --nthreads 1",
                )
                self._progress.started(task, worker="")
                self._progress.settle(result_of(task, TaskOutcome(id=task.id, seconds=0.0, error=error)))

    def _look_at_workers(self) -> None:
        """Workers that came and went."""
        present = self._cluster.addresses()
        known = {worker.name for worker in self._placement.workers}
        with self._changed:
            for name in known - present.keys():
                for task in self._placement.remove(name):
                    self._runs[task.id].messages.put(_Lost())
        new = [name for name in present if name not in known and name not in self._cluster.refused]
        for worker in self._cluster.examined(new) if new else ():
            with self._changed:
                self._placement.add(worker)
        for name in new:
            if name in self._cluster.refused:
                self._report.warn(
                    f"the worker {present[name]['name']} is not used: it {self._cluster.refused[name]}"
                )

    # One task, in a thread of its own

    def _carry_out(self, run: _Run) -> None:
        try:
            began = time.monotonic()
            with TaskView(run.task, self._report) as view:
                outcome = self._outcome(run, view)
                if outcome is not None:
                    view.end(outcome)
            with self._changed:
                self._settle(run, outcome, seconds=time.monotonic() - began)
        except BaseException as fault:
            with self._changed:
                self._faults.append(fault)
        finally:
            with self._changed:
                self._changed.notify_all()

    def _outcome(self, run: _Run, view: TaskView) -> TaskOutcome | None:
        """How it ended; None where its worker did."""
        order = self._exchange.order(self._planned.spec_of(run.task))
        require_small(order)
        key = f"{self._topic}-{run.task.id[:24]}-{len(self._attempts.get(run.task.id, ()))}"
        run.future = self._cluster.submit(order, key, worker=run.worker, topic=self._topic)
        run.future.add_done_callback(run.messages.put)
        while True:
            message = run.messages.get()
            if isinstance(message, _Lost) or self._stopped:
                run.future.cancel()
                return None
            if message is not run.future:
                view.hear(message)
                continue
            return self._received(run)

    def _received(self, run: _Run) -> TaskOutcome | None:
        future = run.future
        if future.status in ("cancelled", "lost"):
            return None
        if future.status == "error":
            error = future.exception()
            if type(error).__name__ in ("KilledWorker", "CommClosedError"):
                return None
            failure = error if isinstance(error, DiboError) else Defect(f"a worker failed: {error!r}")
            return TaskOutcome(id=run.task.id, seconds=0.0, error=failure)
        outcome: FleetOutcome = future.result()
        future.release()
        result = TaskOutcome(
            id=outcome.id,
            seconds=outcome.seconds,
            layers=outcome.layers,
            artefacts=outcome.artefacts,
            error=outcome.error,
        )
        if outcome.parcel is None:
            return result
        try:
            return replace(result, artefacts=self._exchange.fetched(run.task, outcome.parcel))
        except DiboError as error:
            return replace(result, artefacts=(), error=error)

    def _settle(self, run: _Run, outcome: TaskOutcome | None, *, seconds: float) -> None:
        task = run.task
        del self._runs[task.id]
        failed = outcome is None or outcome.error is not None
        self._placement.end(task, run.worker, seconds=None if failed else seconds)
        if self._stopped:
            return
        workers = self._attempts.setdefault(task.id, [])
        workers.append(run.worker)
        again = outcome is None or isinstance(outcome.error, _OF_THE_WORKER)
        if again and len(workers) < ATTEMPTS:
            reason = "its worker ended" if outcome is None or outcome.error is None else outcome.error.message
            self._report.warn(f"{title_of(task)} begins again on another worker: {reason}")
            self._schedule.lost(task.id)
            return
        if outcome is None:
            error = EngineError(
                f"{len(workers)} workers ended while they did this",
                hint="look at their logs: perhaps they lacked memory (--memory-limit of dask worker)",
            )
            outcome = TaskOutcome(id=task.id, seconds=0.0, error=error)
        self._progress.settle(result_of(task, outcome))

    # The end

    def _stop(self) -> None:
        """Have workers end what they do, and wait for that, for a while."""
        from dibo.api.fleet.on_worker import running

        with self._changed:
            self._stopped = True
            self._schedule.stop()
            runs = list(self._runs.values())
        for run in runs:
            if run.future is not None:
                run.future.cancel()
            run.messages.put(_Lost())
        deadline = time.monotonic() + _END_SECONDS
        with suppress(Exception):
            while time.monotonic() < deadline:
                if not any(self._cluster.client.run(running, self._topic, on_error="ignore").values()):
                    break
                time.sleep(0.2)


def require_small(value: FleetOrder | FleetOutcome) -> int:
    """The size of what goes through the scheduler, in bytes. Raises Defect for what belongs into the registry."""
    size = len(pickle.dumps(value))
    if size > LARGEST:
        raise Defect(
            f"{size} bytes would go through the scheduler for {value.id}, expected at most {LARGEST}"
        )
    return size

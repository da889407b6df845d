"""A bake on this machine: workers, each with one task at a time, until nothing is left to do."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from dibo.api.baking.planning import PlannedBake
from dibo.api.baking.progress import BakeProgress, result_of
from dibo.api.baking.spec import TaskOutcome
from dibo.api.baking.view import TaskView
from dibo.api.baking.worker import RunTask
from dibo.api.session import new_run
from dibo.api.workers.forward import WorkerMessage
from dibo.api.workers.process import WorkerProcess
from dibo.bake.graph import MEMORY_LAYER, BakeTask, tasks_of
from dibo.bake.report import TaskResult
from dibo.bake.schedule import Schedule
from dibo.errors import CommandFailed
from dibo.system.report import Report
from dibo.system.resources import available_memory, processors
from dibo.system.threads import in_threads

_PROGRAM: Final = "dibo.api.baking.worker"
_Worker = WorkerProcess[WorkerMessage, TaskOutcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class BakeLimits:
    """How much is done at a time."""

    jobs: int
    memory: int | None
    """Bytes; None for as much as the tasks take."""
    stop_on_failure: bool = False
    """Whether nothing more begins once something failed."""
    verbose: bool = False


def limits_of(
    *, jobs: int | None, memory: int | None, stop_on_failure: bool = False, verbose: bool = False
) -> BakeLimits:
    """The options, or what this machine can do: as many jobs as processors, if there is memory for them."""
    memory = available_memory() if memory is None else memory
    if jobs is None:
        jobs = processors() if memory is None else max(1, min(processors(), memory // MEMORY_LAYER))
    return BakeLimits(jobs=jobs, memory=memory, stop_on_failure=stop_on_failure, verbose=verbose)


def bake_here(planned: PlannedBake, report: Report, limits: BakeLimits) -> tuple[TaskResult, ...]:
    """Carry out all tasks; how each ended, in the order of the graph. A task that fails ends only what needs it."""
    tasks = tasks_of(planned.graph)
    schedule = Schedule(tasks, slots=limits.jobs, memory=limits.memory)
    progress = BakeProgress(planned, tasks, report, schedule=schedule, stop_on_failure=limits.stop_on_failure)
    bake = _LocalBake(planned, progress, report, limits)
    to_do = sum(not planned.standing_of(task) for task in tasks)
    results = bake.results(min(limits.jobs, to_do))
    if bake.worker_died:  # what it left goes when the next run begins
        with new_run(next(iter(planned.images.values())).spec.settings):
            pass
    return results


class _LocalBake:
    def __init__(
        self, planned: PlannedBake, progress: BakeProgress, report: Report, limits: BakeLimits
    ) -> None:
        self._planned, self._report, self._limits = planned, report, limits
        self._progress, self._schedule = progress, progress.schedule
        self._changed = threading.Condition()
        self._interrupted = False
        self.worker_died = False

    def results(self, number: int) -> tuple[TaskResult, ...]:
        """Of all tasks, by so many workers; none where there is nothing to do but look."""
        workers = [_Worker(_PROGRAM, (TaskOutcome,), self._report) for _ in range(number)]
        with ExitStack() as stack, self._progress:
            for worker in workers:
                stack.enter_context(worker)
            try:
                work = [partial(self._work, worker, n) for n, worker in enumerate(workers, start=1)]
                in_threads(work or [partial(self._work, None, 1)], stop=partial(self._stop, workers))
            except BaseException:
                self._stop(workers)
                raise
        return self._progress.results

    def _stop(self, workers: Sequence[_Worker]) -> None:
        with self._changed:
            self._interrupted = True
            self._schedule.stop()
            self._changed.notify_all()
        for worker in workers:
            worker.end()

    def _work(self, worker: _Worker | None, number: int) -> None:
        """What a thread does: task after task, in one worker."""
        try:
            while (task := self._next(number)) is not None:
                self._end(self._carried_out(task, worker))
        except BaseException:
            with self._changed:  # the others need not wait for its task
                self._interrupted = True
                self._changed.notify_all()
            raise

    def _next(self, number: int) -> BakeTask | None:
        """The next task, started by this worker; None when there will be none."""
        with self._changed:
            while not self._schedule.finished and not self._interrupted:
                task = self._schedule.next()
                if task is not None:
                    self._progress.started(task, worker=str(number))
                    return task
                self._changed.wait()
        return None

    def _carried_out(self, task: BakeTask, worker: _Worker | None) -> TaskResult:
        order = RunTask(
            spec=self._planned.spec_of(task),
            decided=self._planned.decided_of(task),
            verbose=self._limits.verbose,
        )
        with TaskView(task, self._report) as view:
            try:
                standing = self._planned.standing_of(task)
                if standing or worker is None:
                    outcome = TaskOutcome(id=task.id, seconds=0.0, artefacts=standing)
                else:
                    outcome = worker.ask(order, view.hear)
            except CommandFailed as error:
                self.worker_died = True
                outcome = TaskOutcome(id=task.id, seconds=0.0, error=error)
            view.end(outcome, interrupted=self._interrupted)
        return result_of(task, outcome)

    def _end(self, result: TaskResult) -> None:
        with self._changed:
            if self._interrupted:
                return
            self._progress.settle(result)
            self._changed.notify_all()

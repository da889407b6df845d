"""A bake on this machine: workers, each with one task at a time, until nothing is left to do."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from dibo.api.baking.planning import PlannedBake
from dibo.api.baking.spec import TaskOutcome
from dibo.api.baking.view import TaskView
from dibo.api.baking.worker import RunTask
from dibo.api.documents import error_fields
from dibo.api.session import new_run
from dibo.api.workers.forward import WorkerMessage
from dibo.api.workers.process import WorkerProcess
from dibo.bake import events
from dibo.bake.graph import MEMORY_LAYER, BakeTask, tasks_of
from dibo.bake.report import TaskResult
from dibo.bake.schedule import Schedule, TaskState
from dibo.errors import CommandFailed
from dibo.system.report import Report
from dibo.system.resources import available_memory, processors
from dibo.system.threads import in_threads
from dibo.units import counted, human_size

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
    report.notice(events.PLANNED, events.planned(planned.graph))
    bake = _LocalBake(planned, tasks, report, limits)
    results = bake.results()
    if bake.worker_died:  # what it left goes when the next run begins
        with new_run(next(iter(planned.images.values())).spec.settings):
            pass
    return results


class _SomethingFailed(Exception):
    """So the row of the whole ends where a task did not."""


class _LocalBake:
    def __init__(
        self, planned: PlannedBake, tasks: tuple[BakeTask, ...], report: Report, limits: BakeLimits
    ) -> None:
        self._planned, self._tasks, self._report, self._limits = planned, tasks, report, limits
        self._schedule = Schedule(tasks, slots=limits.jobs, memory=limits.memory)
        self._changed = threading.Condition()
        self._results: dict[str, TaskResult] = {}
        self._interrupted = False
        self.worker_died = False

    def results(self) -> tuple[TaskResult, ...]:
        workers = [
            _Worker(_PROGRAM, (TaskOutcome,), self._report)
            for _ in range(min(self._limits.jobs, len(self._tasks)))
        ]
        title = f"bake of {counted(len(self._planned.graph.artefacts), 'image')}"
        with suppress(_SomethingFailed), self._report.task(title) as self._whole:
            self._carry_out(workers)
            if any(result.state is not TaskState.DONE for result in self._results.values()):
                raise _SomethingFailed
        return tuple(self._results[task.id] for task in self._tasks)

    def _carry_out(self, workers: Sequence[_Worker]) -> None:
        with ExitStack() as stack:
            for worker in workers:
                stack.enter_context(worker)
            try:
                self._show()
                in_threads([partial(self._work, worker, n) for n, worker in enumerate(workers, start=1)])
            except BaseException:
                with self._changed:
                    self._interrupted = True
                    self._schedule.stop()
                    self._changed.notify_all()
                for worker in workers:
                    worker.end()
                raise

    def _work(self, worker: _Worker, number: int) -> None:
        """What a thread does: task after task, in one worker."""
        try:
            while (task := self._next()) is not None:
                self._report.notice(events.STARTED, events.started(task, worker=str(number)))
                self._end(self._carried_out(task, worker))
        except BaseException:
            with self._changed:  # the others need not wait for its task
                self._interrupted = True
                self._changed.notify_all()
            raise

    def _next(self) -> BakeTask | None:
        """The next task, started; None when there will be none."""
        with self._changed:
            while not self._schedule.finished and not self._interrupted:
                task = self._schedule.next()
                if task is not None:
                    self._schedule.start(task.id)
                    self._show()
                    return task
                self._changed.wait()
        return None

    def _carried_out(self, task: BakeTask, worker: _Worker) -> TaskResult:
        order = RunTask(
            spec=self._planned.spec_of(task),
            decided=self._planned.decided_of(task),
            verbose=self._limits.verbose,
        )
        with TaskView(task, self._report) as view:
            try:
                outcome = worker.ask(order, view.hear)
            except CommandFailed as error:
                self.worker_died = True
                outcome = TaskOutcome(id=task.id, seconds=0.0, error=error)
            view.error = outcome.error
            if outcome.artefacts:
                view.note(human_size(sum(path.stat().st_blocks * 512 for path in outcome.artefacts)))
        return result_of(task, outcome)

    def _end(self, result: TaskResult) -> None:
        with self._changed:
            if self._interrupted:
                return
            self._settle(result)
            self._show()
            self._changed.notify_all()

    def _settle(self, result: TaskResult) -> None:
        task = result.task
        self._results[task.id] = result
        self._tell(result)
        if result.error is None:
            self._schedule.done(task.id)
            return
        cancelled = [(later, task.id) for later in self._schedule.failed(task.id)]
        others = sorted({name for later, _ in cancelled for name in later.images})
        lost = f", and with it {', '.join(others)}" if others and others != list(task.images) else ""
        self._report.warn(f"{events.title_of(task)} failed{lost}: {result.error.message}")
        if self._limits.stop_on_failure:
            cancelled += [(later, "") for later in self._schedule.stop()]
        for later, because in cancelled:
            self._results[later.id] = TaskResult(
                task=later, state=TaskState.CANCELLED, layers={}, because=because
            )
            self._tell(self._results[later.id])

    def _tell(self, result: TaskResult) -> None:
        error = error_fields(result.error) if result.error is not None else None
        self._report.notice(events.ENDED, {**events.ended(result), "error": error})

    def _show(self) -> None:
        """How far all is, in the row of the whole."""
        states = [self._schedule.state(task.id) for task in self._tasks]
        text = f"{states.count(TaskState.DONE)} of {counted(len(states), 'task')}"
        failed, cancelled = states.count(TaskState.FAILED), states.count(TaskState.CANCELLED)
        text += f", {failed} failed" if failed else ""
        text += f", {cancelled} cancelled" if cancelled else ""
        self._whole.hook = text
        self._whole.note(text)


def result_of(task: BakeTask, outcome: TaskOutcome) -> TaskResult:
    """A task that a worker carried out, as the report of a bake has it."""
    return TaskResult(
        task=task,
        state=TaskState.DONE if outcome.error is None else TaskState.FAILED,
        seconds=outcome.seconds,
        layers={layer.outcome.key: (layer.outcome, layer.seconds) for layer in outcome.layers},
        artefacts=outcome.artefacts,
        error=outcome.error,
    )

"""How far a bake is: the schedule, what became of tasks, and what people and programs are shown of it. For one thread
at a time."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from dibo.api.baking.planning import PlannedBake
from dibo.api.baking.spec import TaskOutcome
from dibo.api.documents import error_fields
from dibo.bake import events
from dibo.bake.graph import BakeTask
from dibo.bake.report import TaskResult
from dibo.bake.schedule import Schedule, TaskState
from dibo.errors import DiboError
from dibo.system.report import Report
from dibo.units import counted


class BakeProgress:
    """A context manager: while it lasts, a row says how far all is."""

    def __init__(
        self,
        planned: PlannedBake,
        tasks: Sequence[BakeTask],
        report: Report,
        *,
        schedule: Schedule,
        stop_on_failure: bool = False,
    ) -> None:
        self.schedule = schedule
        self._tasks, self._report, self._stop_on_failure = tuple(tasks), report, stop_on_failure
        self._results: dict[str, TaskResult] = {}
        self._whole = report.task(f"bake of {counted(len(planned.graph.artefacts), 'image')}")
        report.notice(events.PLANNED, events.planned(planned.graph))

    def __enter__(self) -> Self:
        self._whole.__enter__()
        self.show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and any(result.state is not TaskState.DONE for result in self._results.values()):
            kind = DiboError  # so the row ends as one that failed
        self._whole.__exit__(kind, error, trace)

    @property
    def results(self) -> tuple[TaskResult, ...]:
        """Of all tasks, once all have ended, in the order of the graph."""
        return tuple(self._results[task.id] for task in self._tasks)

    def started(self, task: BakeTask, *, worker: str) -> None:
        """It runs."""
        self.schedule.start(task.id)
        self._report.notice(events.STARTED, events.started(task, worker=worker))
        self.show()

    def settle(self, result: TaskResult) -> None:
        """A task that ran has ended. What needs one that failed is cancelled."""
        task = result.task
        self._results[task.id] = result
        self._tell(result)
        if result.error is None:
            self.schedule.done(task.id)
        else:
            self._cancel(result)
        self.show()

    def _cancel(self, result: TaskResult) -> None:
        task = result.task
        cancelled = [(later, task.id) for later in self.schedule.failed(task.id)]
        others = sorted({name for later, _ in cancelled for name in later.images})
        lost = f", and with it {', '.join(others)}" if others and others != list(task.images) else ""
        assert result.error is not None
        self._report.warn(f"{events.title_of(task)} failed{lost}: {result.error.message}")
        if self._stop_on_failure:
            cancelled += [(later, "") for later in self.schedule.stop()]
        for later, because in cancelled:
            self._results[later.id] = TaskResult(
                task=later, state=TaskState.CANCELLED, layers={}, because=because
            )
            self._tell(self._results[later.id])

    def _tell(self, result: TaskResult) -> None:
        error = error_fields(result.error) if result.error is not None else None
        self._report.notice(events.ENDED, {**events.ended(result), "error": error})

    def show(self) -> None:
        """How far all is, in the row of the whole."""
        states = [self.schedule.state(task.id) for task in self._tasks]
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

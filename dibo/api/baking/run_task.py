"""One task of a graph, carried out in this process: layers of an image, its artefacts, or a test of these.

One at a time in a process: a run owns the processes that it starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from dibo.api.baking.spec import Decided, ImageSpec, LayerResult, TaskKind, TaskOutcome, TaskSpec
from dibo.api.session import Session, new_run, open_session, stack_of
from dibo.api.workers.serve import defect_of
from dibo.build.build import Job
from dibo.build.engine import Setup
from dibo.errors import CommandFailed, DiboError, EngineError
from dibo.system.process import TAIL_LINES
from dibo.system.report import History, Report


def run_task(spec: TaskSpec, report: Report, *, decided: Decided | None = None) -> TaskOutcome:
    """Carry it out. It raises nothing but Interrupted: what fails is in the outcome."""
    began = time.monotonic()
    artefacts: tuple[Path, ...] = ()
    failure: DiboError | None = None
    try:
        artefacts = _WORK[spec.kind](spec, report, decided)
    except DiboError as error:
        failure = error
    except Exception as error:
        failure = defect_of(error)
    return TaskOutcome(
        id=spec.id,
        seconds=time.monotonic() - began,
        layers=_layers(spec, report.history),
        artefacts=artefacts,
        error=failure,
    )


def _layers(spec: TaskSpec, history: History) -> tuple[LayerResult, ...]:
    """Those of the task that are there, as the report has them."""
    seconds = {task.number: task.seconds for task in history.tasks}
    return tuple(
        LayerResult(outcome=layer, seconds=seconds.get(layer.task) if layer.task is not None else None)
        for layer in history.layers.values()
        if layer.key in spec.keys
    )


def _build_layers(spec: TaskSpec, report: Report, decided: Decided | None) -> tuple[Path, ...]:
    """Have the layers in the engine's store, and in the caches that are written."""
    with _session(spec.image, report, decided) as (session, job):
        last = spec.keys[-1]
        if last not in job.plan.keys:
            raise EngineError(
                f"the plan of {spec.image.name} has no layer {last[:12]} here: it was planned with other files, or"
                " hooks on the host make other data",
                hint="the worker must see the same flavours, variables and dibo as the command that started the bake",
            )
        session.build(replace(job, plan=job.plan.until(last)))
    return ()


@contextmanager
def _session(image: ImageSpec, report: Report, decided: Decided | None) -> Iterator[tuple[Session, Job]]:
    with new_run(image.settings) as (workspace, run):
        stack = stack_of(image.settings, run) if decided is None else decided.plan.recipe.stack
        with open_session(image.settings, Setup(run=run, report=report), workspace=workspace) as session:
            if decided is None:
                yield session, session.job(stack)
            else:
                yield session, session.take_over(decided.plan, decided.extra)


def _make_artefacts(spec: TaskSpec, report: Report, decided: Decided | None) -> tuple[Path, ...]:
    """Make them of the image's root; the layers that are missing are built first."""
    image = spec.image
    if image.conversion is not None:
        from dibo.api.conversion import convert

        return convert(image.settings, image.conversion, report)
    if image.ramdisk is not None:
        from dibo.api import ramdisk as ramdisks

        if decided is None:
            return ramdisks.create(image.settings, image.ramdisk, report)
        plan, extra = decided.plan, decided.extra
        with ramdisks.taken_over_ramdisk(
            image.settings, image.ramdisk, report, plan=plan, extra=extra
        ) as ramdisk:
            return ramdisk.make()
    from dibo.api.create import create, taken_over_disk

    if decided is None:
        return create(image.settings, report, layout_file=image.layout)
    plan, extra = decided.plan, decided.extra
    assert decided.request is not None
    with taken_over_disk(image.settings, report, plan=plan, extra=extra, request=decided.request) as planned:
        return planned.make()


def _test(spec: TaskSpec, report: Report, _: Decided | None) -> tuple[Path, ...]:
    """Boot the artefact. Raises CommandFailed for a command in the machine that failed."""
    from dibo.api.machines.boot import BootOutputs, boot

    test = next(test for test in spec.image.tests if test.name == spec.test)
    result = boot(spec.image.settings, test.request, report, BootOutputs())
    failed = next((step for step in result.steps if step.code), None)
    if failed is not None:
        raise CommandFailed(
            f"the test {test.name} of {spec.image.name} failed: {failed.step.value} ended with exit code {failed.code}",
            hint="\n".join(f"| {line}" for line in (failed.output or "").splitlines()[-TAIL_LINES:]),
            returncode=failed.code or -1,
        )
    return ()


_WORK: Final[dict[TaskKind, Callable[[TaskSpec, Report, Decided | None], tuple[Path, ...]]]] = {
    TaskKind.LAYERS: _build_layers,
    TaskKind.ARTEFACTS: _make_artefacts,
    TaskKind.TEST: _test,
}

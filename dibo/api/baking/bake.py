"""`dibo bake`: all images of a project, or some of them."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dibo.api.baking.estimates import estimates, remember
from dibo.api.baking.local import BakeLimits, bake_here, limits_of
from dibo.api.baking.planning import PlannedBake, output_paths, planned_bake
from dibo.api.baking.spec import ImageSpec
from dibo.api.documents import (
    CommandAnswer,
    Document,
    error_fields,
    file_fields,
    files_text,
    new_document,
)
from dibo.artefacts.checksums import room_of
from dibo.artefacts.outputs import check_writable
from dibo.bake import events
from dibo.bake.drawing import draw
from dibo.bake.graph import make_graph, shared_layers, tasks_of
from dibo.bake.junit import junit
from dibo.bake.report import BakeReport, ImageReport, LayerReport, TaskResult, make_report, table
from dibo.bake.schedule import TaskState
from dibo.errors import DiboError, OutputError, SomeFailed
from dibo.system import disk_space
from dibo.system.report import Report
from dibo.system.workspace import Workspace

if TYPE_CHECKING:
    from dibo.api.fleet.cluster import ClusterAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class BakeOptions:
    """How much is done at a time, and what becomes of failures."""

    jobs: int | None = None
    """None for as many as the machine can do."""
    memory: int | None = None
    """Bytes that tasks may take together; None for what is free."""
    stop_on_failure: bool = False
    verbose: bool = False
    on: ClusterAddress | None = None
    """A cluster that does the work; None: this machine."""
    only_layers: bool = False
    """Whether only the layers are built that all of the images have in common."""


def bake(specs: Sequence[ImageSpec], report: Report, options: BakeOptions) -> BakeReport:
    """Make all images; how it went. Directories of outputs are made. A failure is in the report. Raises UsageError,
    OutputError for what concerns all."""
    began = time.monotonic()
    limits = _limits(options)
    if not specs:  # nothing changed
        return BakeReport(layers=(), images=(), seconds=0.0, jobs=limits.jobs)
    for spec in specs:
        _make_directories(spec)
    keys = Workspace(specs[0].settings.cache).keys
    known = estimates(keys)
    with ExitStack() as stack:
        fleet = None
        if options.on is not None:
            from dibo.api.fleet.fleet import open_fleet

            fleet = stack.enter_context(
                open_fleet(
                    specs,
                    report,
                    options.on,
                    jobs=limits.jobs,
                    stop_on_failure=limits.stop_on_failure,
                )
            )
        is_remote = fleet is not None and not fleet.is_local
        planned = stack.enter_context(
            planned_bake(specs, report, estimate=known, only_registries=is_remote, to_build=True)
        )
        if options.only_layers:
            planned = replace(planned, graph=shared_layers(planned.graph, [spec.name for spec in specs]))
        results = bake_here(planned, report, limits) if fleet is None else fleet.bake(planned)
        remember(keys, results)
        results = tuple(map(_as_it_is_now, results))
        return make_report(
            planned.graph,
            results,
            planned.errors,
            seconds=time.monotonic() - began,
            jobs=limits.jobs if fleet is None else fleet.slots,
        )


def _as_it_is_now(result: TaskResult) -> TaskResult:
    """How a task ended; as failed where an artefact that it made was removed before the others were done."""
    gone = next((path for path in result.artefacts if not path.exists()), None)
    if gone is None:
        return result
    error = OutputError(
        f"{gone} was made, and is gone: something else removed it during the bake", hint="bake again"
    )
    return replace(result, state=TaskState.FAILED, artefacts=(), error=error)


def _limits(options: BakeOptions) -> BakeLimits:
    return limits_of(
        jobs=options.jobs,
        memory=options.memory,
        stop_on_failure=options.stop_on_failure,
        verbose=options.verbose,
    )


def _make_directories(spec: ImageSpec) -> None:
    for directory in {path.parent for path in output_paths(spec)}:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make {directory}: {disk_space.reason(error, directory)}") from error


def dry_run(
    specs: Sequence[ImageSpec], report: Report, reasons: Mapping[str, Sequence[str]]
) -> CommandAnswer:
    """The graph, with nothing built; hooks on the host run, as for a plan. `reasons` say why images are baked, by name.
    Raises SomeFailed for images that cannot be planned, and what `bake` raises."""
    if not specs:
        nothing = PlannedBake(graph=make_graph(()), images={}, errors={})
        return CommandAnswer(text="nothing to build", document=_plan_document(nothing, reasons))
    known = estimates(Workspace(specs[0].settings.cache).keys)
    with tempfile.TemporaryDirectory(prefix="dibo-") as directory:
        elsewhere = [_writable(spec, Path(directory)) for spec in specs]
        with planned_bake(elsewhere, report, estimate=known) as planned:
            if planned.errors:
                raise SomeFailed.of(tuple(planned.errors.items()), len(specs), failure="cannot be planned")
            outputs = {spec.name: str(_output(spec)) for spec in specs}
            artefacts = tuple(
                replace(artefact, destination=outputs[artefact.image]) for artefact in planned.graph.artefacts
            )
            planned = replace(planned, graph=replace(planned.graph, artefacts=artefacts))
            return CommandAnswer(
                text=draw(planned.graph, reasons),
                document=_plan_document(planned, reasons),
            )


def _output(spec: ImageSpec) -> Path:
    return spec.ramdisk.output if spec.ramdisk is not None else spec.settings.output


def _writable(spec: ImageSpec, directory: Path) -> ImageSpec:
    """The image, with an output that passes where a bake would first make its directory."""
    output = _output(spec)
    if output.absolute().parent.is_dir():
        return spec
    (directory / spec.name).mkdir()
    output = directory / spec.name / output.name
    if spec.ramdisk is not None:
        return replace(spec, ramdisk=replace(spec.ramdisk, output=output))
    return replace(spec, settings=replace(spec.settings, output=output))


def _plan_document(planned: PlannedBake, reasons: Mapping[str, Sequence[str]]) -> Document:
    return new_document(
        "bake-plan",
        layers=[
            {
                "key": layer.key,
                "title": layer.title,
                "parent": layer.parent,
                "images": list(layer.images),
                "state": layer.state.value,
                "local": layer.local,
            }
            for layer in planned.graph.layers
        ],
        tasks=[events.task_fields(task) for task in tasks_of(planned.graph)],
        reasons={name: list(texts) for name, texts in reasons.items()},
    )


def bake_answer(report: BakeReport) -> CommandAnswer:
    """What was made, and what failed."""
    return CommandAnswer(
        text=files_text([path for image in report.images for path in image.artefacts]),
        document=new_document(
            "bake",
            images=[_image_fields(image) for image in report.images],
            layers=[_layer_fields(layer) for layer in report.layers],
            jobs=report.jobs,
            took=round(report.seconds, 3),
        ),
    )


def _image_fields(image: ImageReport) -> Document:
    return {
        "name": image.name,
        "outcome": image.state.value,
        "failed": image.failed or None,
        "layers": [layer.layer.key for layer in image.layers],
        "artefacts": file_fields(image.artefacts),
        "tests": [
            {
                "name": test.name,
                "outcome": test.state.value,
                "took": round(test.seconds, 3),
                "error": error_fields(test.error) if test.error is not None else None,
            }
            for test in image.tests
        ],
        "error": error_fields(image.error) if image.error is not None else None,
        "took": round(image.seconds, 3),
    }


def _layer_fields(layer: LayerReport) -> Document:
    return {
        "key": layer.layer.key,
        "title": layer.layer.title,
        "images": list(layer.layer.images),
        "origin": layer.origin or None,
        "registry": layer.registry or None,
        "took": None if layer.seconds is None else round(layer.seconds, 3),
        "error": error_fields(layer.error) if layer.error is not None else None,
    }


def summary(report: BakeReport, *, columns: int | None) -> str:
    """A line for each image, and one for all."""
    sizes = {path: room_of(path) for image in report.images for path in image.artefacts}
    return table(report, sizes, columns=columns)


def failure_of(report: BakeReport) -> DiboError | None:
    """The error that the command ends with; None where all is well. Where only layers were built, it is theirs."""
    if not report.failed:
        errors = [layer.error for layer in report.layers if layer.error is not None]
        return errors[0] if errors and not report.images else None
    return SomeFailed.of(
        report.failures, len(report.images), failed=len(report.failed), failure=report.failure
    )


def check_junit(path: Path) -> None:
    """Refuse before a bake what cannot be written after it. Raises OutputError."""
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a directory", hint="name a file with --junit")
    place = path if path.exists() else path.absolute().parent
    if not path.exists() and not place.is_dir():
        raise OutputError(
            f"the directory {place} does not exist", hint="make it, or choose another with --junit"
        )
    if not path.exists():
        check_writable(place, hint="choose another file with --junit")
    elif not os.access(place, os.W_OK):
        raise OutputError(f"cannot write {path}: permission denied", hint="choose another file with --junit")


def write_junit(report: BakeReport, path: Path) -> None:
    """Raises OutputError."""
    try:
        path.write_text(junit(report))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {disk_space.reason(error, path)}") from error

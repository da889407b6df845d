"""How a bake ended: what became of each layer and each image, as values and as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.bake.graph import ArtefactTask, BakeTask, Chain, Graph, LayerState, LayerTask
from dibo.bake.schedule import TaskState
from dibo.errors import DiboError
from dibo.system.task import BUILT, CACHED, PULLED, SHARED, LayerOutcome
from dibo.system.terminal import cells, fitted, wrapped
from dibo.units import counted, human_size, human_time

PLANNING: Final = "planning"
"""What failed, where an image could not even be planned."""
_GAP: Final = "  "
_HEADINGS: Final = ("image", "layers", "artefacts", "tests", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """What became of a task. Seconds of a task that did not run are 0."""

    task: BakeTask
    state: TaskState
    seconds: float = 0.0
    layers: Mapping[str, tuple[LayerOutcome, float | None]]
    """Of a chain: the layers that are there, by key, with the seconds that building or pulling took."""
    artefacts: tuple[Path, ...] = ()
    error: DiboError | None = None
    because: str = ""
    """The task whose failure cancelled it; empty where all were stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """A layer, and where it came from; `origin` is one of dibo.system.task, or empty where it is not there."""

    layer: LayerTask
    origin: str
    registry: str = ""
    seconds: float | None = None
    error: DiboError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TestReport:
    """A test of an image."""

    __test__ = False  # for pytest

    name: str
    state: TaskState
    seconds: float
    error: DiboError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReport:
    """An image: done, failed, or cancelled since what it needs failed."""

    name: str
    state: TaskState
    layers: tuple[LayerReport, ...]
    """Those of the graph, the lowest first."""
    artefacts: tuple[Path, ...]
    seconds: float
    """Of its artefacts."""
    tests: tuple[TestReport, ...] = ()
    error: DiboError | None = None
    """Why it failed, if that is its own failure or that of a layer of it."""
    failed: str = ""
    """What failed: a layer by its title, `artefacts`, a test by its name, or PLANNING."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BakeReport:
    """All of it; `seconds` is from beginning to end."""

    layers: tuple[LayerReport, ...]
    images: tuple[ImageReport, ...]
    seconds: float
    jobs: int

    @property
    def failed(self) -> tuple[ImageReport, ...]:
        """Images that are not there, or whose tests failed."""
        return tuple(image for image in self.images if image.state is not TaskState.DONE)

    @property
    def failure(self) -> str:
        """What became of the images that failed: of those that were made, their tests."""
        made = [bool(image.artefacts) for image in self.failed]
        if made and all(made):
            return "failed their tests"
        return "could not be made, or failed their tests" if any(made) else "could not be made"

    @property
    def failures(self) -> tuple[tuple[str, DiboError], ...]:
        """Each error once, with what failed: a layer of several images counts once."""
        seen: dict[int, tuple[str, DiboError]] = {}
        for image in self.images:
            if image.error is not None:
                shared = [layer for layer in image.layers if layer.error is image.error]
                names = ", ".join(shared[0].layer.images) if shared else image.name
                seen.setdefault(id(image.error), (f"{names}: {image.failed}", image.error))
            for test in image.tests:
                if test.error is not None:
                    seen.setdefault(id(test.error), (f"{image.name}: test {test.name}", test.error))
        return tuple(seen.values())


def make_report(
    graph: Graph,
    results: Sequence[TaskResult],
    errors: Mapping[str, DiboError],
    *,
    seconds: float,
    jobs: int,
) -> BakeReport:
    """`errors` are of images that could not be planned, by name."""
    layers = _layer_reports(graph, results)
    planned = [_image_report(artefact, layers, results) for artefact in graph.artefacts]
    unplanned = [
        ImageReport(
            name=name,
            state=TaskState.FAILED,
            layers=(),
            artefacts=(),
            seconds=0.0,
            error=error,
            failed=PLANNING,
        )
        for name, error in errors.items()
    ]
    return BakeReport(layers=layers, images=(*planned, *unplanned), seconds=seconds, jobs=jobs)


def _layer_reports(graph: Graph, results: Sequence[TaskResult]) -> tuple[LayerReport, ...]:
    outcomes = _outcomes(results)
    errors: dict[str, DiboError] = {}
    for result in results:
        if isinstance(result.task.work, Chain) and result.error is not None:
            missing = [key for key in result.task.work.keys if key not in result.layers]
            errors[(missing or [result.task.work.keys[-1]])[0]] = result.error
    reports = []
    for layer in graph.layers:
        if layer.key in outcomes:
            outcome, seconds = outcomes[layer.key]
            origin, registry = outcome.origin, outcome.registry
        else:
            origin = "" if layer.state is LayerState.MISSING else CACHED
            registry, seconds = "", None
        reports.append(
            LayerReport(
                layer=layer,
                origin=origin,
                registry=registry,
                seconds=seconds,
                error=errors.get(layer.key),
            )
        )
    return tuple(reports)


def _outcomes(results: Sequence[TaskResult]) -> dict[str, tuple[LayerOutcome, float | None]]:
    """Of each layer what was done for it: tasks that needed it later found it cached."""
    outcomes: dict[str, tuple[LayerOutcome, float | None]] = {}
    for result in results:
        for key, outcome in result.layers.items():
            if key not in outcomes or outcomes[key][0].origin == CACHED:
                outcomes[key] = outcome
    return outcomes


def _image_report(
    artefact: ArtefactTask, layers: Sequence[LayerReport], results: Sequence[TaskResult]
) -> ImageReport:
    name = artefact.image
    own = tuple(layer for layer in layers if name in layer.layer.images)
    made = next(result for result in results if result.task.id == f"image:{name}")
    tests = tuple(
        TestReport(
            name=result.task.id.removeprefix(f"test:{name}:"),
            state=result.state,
            seconds=result.seconds,
            error=result.error,
        )
        for result in results
        if result.task.id.startswith(f"test:{name}:")
    )
    error, failed = made.error, "artefacts"
    if error is None:
        broken = next((layer for layer in own if layer.error is not None), None)
        if broken is not None:
            error, failed = broken.error, broken.layer.title
    state = made.state
    if error is None:
        bad = next((test for test in tests if test.error is not None), None)
        if bad is not None:
            error, failed, state = bad.error, f"test {bad.name}", TaskState.FAILED
    elif state is TaskState.CANCELLED:
        state = TaskState.FAILED
    return ImageReport(
        name=name,
        state=state,
        layers=own,
        artefacts=made.artefacts,
        seconds=made.seconds,
        tests=tests,
        error=error,
        failed=failed if error is not None else "",
    )


def table(report: BakeReport, sizes: Mapping[Path, int], *, columns: int | None) -> str:
    """A line for each image, and one for all; `sizes` are bytes that artefacts take. Where a line would take `columns`
    or more, each image has several lines: nothing is cut, so one word may still take more."""
    rows = [_HEADINGS, *(_row(image, sizes) for image in report.images)]
    kept = [column for column in range(5) if any(row[column] for row in rows[1:])]
    widths = {column: max(cells(row[column]) for row in rows) for column in kept}
    lines = [_GAP.join(fitted(row[column], widths[column]) for column in kept).rstrip() for row in rows]
    if columns is None:
        return "\n".join([*lines, totals(report)])
    if max(map(cells, lines)) >= columns:
        lines = [line for row in rows[1:] for line in _block(row, columns)]
    return "\n".join([*lines, *wrapped(totals(report), columns)])


def _block(row: Sequence[str], columns: int) -> Iterator[str]:
    """A row of the table as lines."""
    yield row[0]
    for heading, cell in zip(_HEADINGS[1:], row[1:], strict=True):
        if cell:
            yield from wrapped(f"{heading}: {cell}", columns, indent=_GAP)


def _row(image: ImageReport, sizes: Mapping[Path, int]) -> tuple[str, str, str, str, str]:
    if image.artefacts:
        made = ", ".join(f"{path.name} {human_size(sizes.get(path, 0))}" for path in image.artefacts)
    elif image.error is not None:
        made = f"failed: {image.failed}"
    else:
        made = "cancelled" if image.state is TaskState.CANCELLED else ""
    passed = [test for test in image.tests if test.state is TaskState.DONE]
    tests = f"{len(passed)} of {len(image.tests)} passed" if image.tests else ""
    broken = [test.name for test in image.tests if test.error is not None]
    tests += f"; failed: {', '.join(broken)}" if broken else ""
    seconds = human_time(image.seconds) if image.seconds else ""
    return image.name, _origins(image.layers), made, tests, seconds


def _origins(layers: Sequence[LayerReport]) -> str:
    """Such as `3 built, 2 of them shared, 5 cached`."""
    made = [layer for layer in layers if layer.origin in (BUILT, PULLED, SHARED)]
    parts = []
    for origin, word in ((BUILT, "built"), (PULLED, "pulled"), (SHARED, "from another build")):
        count = sum(layer.origin == origin for layer in made)
        if count:
            parts.append(f"{count} {word}")
    shared = sum(len(layer.layer.images) > 1 for layer in made)
    if shared:
        parts.append(f"{shared} of them shared" if len(made) > 1 else "shared")
    if not made and any(layer.origin == CACHED for layer in layers):
        parts.append("cached")
    return ", ".join(parts)


def totals(report: BakeReport) -> str:
    """Such as `8 images: 7 done, 1 failed; 12 layers built; 1m 12s with 2 jobs`."""
    states = [image.state for image in report.images]
    parts = [f"{states.count(state)} {state.value}" for state in TaskState if state in states]
    built = [layer for layer in report.layers if layer.origin == BUILT]
    work = sum(layer.seconds or 0.0 for layer in built)
    return (
        f"{counted(len(states), 'image')}: {', '.join(parts)}; {counted(len(built), 'layer')} built"
        f" ({human_time(work)}); {human_time(report.seconds)} in all, {counted(report.jobs, 'job')}"
    )

"""From images to a graph: each image is planned once, its hooks on the host run once, and all that is decided of it is
kept for the workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from dibo.api.baking.estimates import name_of_artefacts, name_of_test
from dibo.api.baking.spec import Decided, ImageSpec, TaskKind, TaskSpec
from dibo.api.create import PlannedDisk, disk_request
from dibo.api.machines.request import MEMORY
from dibo.api.ramdisk import checked_order
from dibo.api.session import Session
from dibo.api.shared_sessions import SharedSessions, shared_sessions
from dibo.artefacts.converter import converters_of
from dibo.bake.graph import (
    ArtefactTask,
    BakeTask,
    Chain,
    Estimate,
    Graph,
    ImageTasks,
    TestTask,
    make_graph,
)
from dibo.build import host_hooks, ingredients_store
from dibo.build.engine import Setup
from dibo.build.secrets import read_secrets
from dibo.disk.request import ending
from dibo.errors import DiboError, UsageError
from dibo.ramdisk.make import kernel_path
from dibo.ramdisk.write import check_output
from dibo.settings.settings import Settings
from dibo.system.report import Report
from dibo.units import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """An image, and what was decided of it; without `decided`, an existing image is converted."""

    spec: ImageSpec
    decided: Decided | None
    sources: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    """The files that its layers and artefacts depend on, by what they are of: a flavour, the layout, the project."""
    standing: tuple[Path, ...] = ()
    """Its artefacts, if they are there as they were made."""
    cached: frozenset[str] = frozenset()
    """Keys of its layers that need not be built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBake:
    """All images, and the graph of those that could be planned."""

    graph: Graph
    images: Mapping[str, PlannedImage]
    errors: Mapping[str, DiboError]
    """Why images could not be planned, by name."""

    def spec_of(self, task: BakeTask) -> TaskSpec:
        """What a worker gets to carry out a task."""
        work = task.work
        if isinstance(work, Chain):
            image = self.images[work.builder].spec
            return TaskSpec(id=task.id, kind=TaskKind.LAYERS, image=image, keys=work.keys)
        image = self.images[work.image].spec
        if isinstance(work, ArtefactTask):
            keys = (work.root,) if work.root is not None else ()
            return TaskSpec(id=task.id, kind=TaskKind.ARTEFACTS, image=image, keys=keys)
        return TaskSpec(id=task.id, kind=TaskKind.TEST, image=image, test=work.name)

    def standing_of(self, task: BakeTask) -> tuple[Path, ...]:
        """What the task would make, if that is there already as it was made."""
        return self.images[task.work.image].standing if isinstance(task.work, ArtefactTask) else ()

    def decided_of(self, task: BakeTask) -> Decided | None:
        """What workers on this machine need not decide again."""
        image = task.work.builder if isinstance(task.work, Chain) else task.work.image
        return self.images[image].decided


@contextmanager
def planned_bake(
    specs: Sequence[ImageSpec],
    report: Report,
    *,
    estimate: Estimate = lambda _: None,
    only_registries: bool = False,
    to_build: bool = False,
) -> Iterator[PlannedBake]:
    """Plan all images, at least one; `to_build`: one that lacks a secret of a layer to build is an error. With
    `only_registries` layers count that are in a registry, and not those of this machine. While it lasts, no layer
    goes from the engine's store; at its end, the layers there are limited, and those of these images stay. An image
    that cannot be planned is among the errors. Raises UsageError where two images have one name, would write the
    same file, or name different caches on disk."""
    require_apart(specs)
    with shared_sessions(specs[0].settings, report) as shared:
        planner = _Planner(shared, report, only_registries=only_registries)
        planned: dict[str, PlannedImage] = {}
        errors: dict[str, DiboError] = {}
        tasks = []
        for spec in specs:
            try:
                image_tasks = planner.tasks(spec, estimate, planned)
                if to_build:
                    require_secrets(planned[spec.name])
                tasks.append(image_tasks)
            except DiboError as error:
                planned.pop(spec.name, None)
                errors[spec.name] = error
        planner.keep(planned)
        yield PlannedBake(graph=make_graph(tasks, estimate), images=planned, errors=errors)


def require_secrets(image: PlannedImage) -> None:
    """Say before anything is built that a step will miss a secret, as a build of this image alone does. Raises
    UsageError."""
    if image.decided is not None:
        settings = image.spec.settings
        steps = [planned.step for planned in image.decided.plan.to_run]
        read_secrets(settings.secrets, settings.environment).require_for(steps)


def require_apart(specs: Sequence[ImageSpec]) -> None:
    """Raises UsageError where two images have one name, would write the same file, or name different caches on disk."""
    names: set[str] = set()
    writers: dict[Path, str] = {}
    for spec in specs:
        if spec.name in names:
            raise UsageError(f"two images are called {spec.name}", hint="give each a name of its own")
        names.add(spec.name)
        for path in output_paths(spec):
            writer = writers.setdefault(path, spec.name)
            if writer != spec.name:
                raise UsageError(
                    f"{writer} and {spec.name} would both be written to {path}",
                    hint="give each a destination of its own",
                )
        if spec.settings.cache != specs[0].settings.cache:
            raise UsageError(
                f"{specs[0].name} and {spec.name} have different cache directories: {specs[0].settings.cache} and"
                f" {spec.settings.cache}",
                hint="name one for all: --cache-dir DIR",
            )


def output_paths(spec: ImageSpec) -> tuple[Path, ...]:
    """The artefacts of an image, absolute. Raises ConverterError for a type that is not known."""
    if spec.ramdisk is not None:
        output = spec.ramdisk.output.absolute()
        return output, kernel_path(output)
    return tuple(
        ending(spec.settings.output, converter).absolute() for converter in converters_of(spec.settings)
    )


class _Planner:
    """Plans one image after the other."""

    def __init__(self, shared: SharedSessions, report: Report, *, only_registries: bool) -> None:
        self._shared, self._report = shared, report
        self._only_registries = only_registries

    def tasks(self, spec: ImageSpec, estimate: Estimate, planned: dict[str, PlannedImage]) -> ImageTasks:
        """Plan an image; it is among the `planned` then. Raises DiboError."""
        image = self._planned(spec)
        planned[spec.name] = image
        decided = image.decided
        types = ("ramdisk",) if spec.ramdisk is not None else spec.settings.types
        output = spec.ramdisk.output if spec.ramdisk is not None else spec.settings.output
        root = decided.plan.image_key if decided is not None else None
        architecture = spec.settings.architecture
        artefact = ArtefactTask(
            image=spec.name,
            types=types,
            root=root,
            architecture=architecture,
            destination=str(output),
            seconds=estimate(name_of_artefacts(spec.name, types)),
        )
        tests = tuple(
            TestTask(
                image=spec.name,
                name=test.name,
                architecture=architecture,
                memory=(test.request.memory or MEMORY) * MIB,
                seconds=estimate(name_of_test(spec.name, test.name)),
            )
            for test in spec.tests
        )
        in_registry: frozenset[str] = frozenset()
        if decided is not None:
            held = self._session(spec.settings).held
            in_registry = frozenset(key for key in decided.plan.keys if key not in held)
        return ImageTasks(
            name=spec.name,
            plan=decided.plan if decided is not None else None,
            artefact=artefact,
            tests=tests,
            in_registry=in_registry,
        )

    def _planned(self, spec: ImageSpec) -> PlannedImage:
        if spec.conversion is not None:
            return PlannedImage(spec=spec, decided=None)
        settings = spec.settings
        stack = self._shared.stack(settings)
        setup = Setup(run=self._shared.run, report=self._report)
        request = None
        if spec.ramdisk is not None:
            check_output(spec.ramdisk.output)
            checked_order(settings, spec.ramdisk, stack, setup)
        else:
            request = disk_request(settings, stack, self._report, layout_file=spec.layout)
        session = replace(self._session(settings), settings=settings)
        job = self._shared.job(session, stack)
        ingredients_store.save_plan(self._shared.workspace.keys, job.plan)
        standing: tuple[Path, ...] = ()
        if request is not None and not host_hooks.has_block_device(stack):
            disk = PlannedDisk(session=session, job=job, request=request, hooked=None, loop=request.loop)
            standing = request.paths if disk.stands else ()
        decided = Decided(plan=job.plan, extra=job.extra, request=request)
        return PlannedImage(spec=spec, decided=decided, standing=standing)

    def keep(self, planned: Mapping[str, PlannedImage]) -> None:
        """Have their layers in the engine's store stay there at the end."""
        for session in self._shared.opened:
            for image in planned.values():
                if image.decided is not None:
                    session.built.update(image.decided.plan.keys)

    def _session(self, settings: Settings) -> Session:
        session = self._shared.session(settings)
        return replace(session, held={}) if self._only_registries else session

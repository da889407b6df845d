"""From flavours to disks: the layers of a stack, and of these disks and other artefacts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dibo.api.session import Session, new_run, open_session, stack_of
from dibo.artefacts import build_manifest, manifest, recorded
from dibo.artefacts.checksums import checksum_path, md5_path
from dibo.artefacts.converter import Converter, converters_of
from dibo.artefacts.provenance import provenance_path, provenance_request
from dibo.artefacts.standing import StandingArtefacts, name_of_outputs
from dibo.build import host_hooks
from dibo.build.build import Job, host_run, report_cached
from dibo.build.context import ExtraFiles
from dibo.build.engine import Root, Setup
from dibo.build.flavour_warnings import warn_of_flavours
from dibo.disk import layout_choice, layout_of_stack
from dibo.disk.convert import convert
from dibo.disk.device_hooks import HookedDisk, hooked_disk
from dibo.disk.layout_choice import GivenLayout
from dibo.disk.make import plan_disk
from dibo.disk.plan import DiskSource
from dibo.disk.request import (
    DiskRequest,
    check_filesystem,
    check_outputs,
    check_request,
    decide_loop,
    needs_directory,
)
from dibo.elements.stack import NO_FINAL_IMAGE, MixedStack
from dibo.errors import ManifestError
from dibo.flavours.stack import Stack
from dibo.plan.plan import Plan
from dibo.settings.dib_options import mkfs_words, unused_of_elements, wants_md5
from dibo.settings.settings import Settings
from dibo.system import resources
from dibo.system.exclusive import exclusive
from dibo.system.report import Report


def create(settings: Settings, report: Report, *, layout_file: GivenLayout | None) -> tuple[Path, ...]:
    """Make the artefacts; their paths."""
    with planned_disk(settings, report, layout_file=layout_file) as planned:
        return planned.make()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDisk:
    """Artefacts whose layers are known, and that can be made."""

    session: Session
    job: Job
    request: DiskRequest
    hooked: HookedDisk | None
    loop: bool

    def make(self) -> tuple[Path, ...]:
        """Build the layers that are missing, and make the artefacts, unless they stand as they were made; their
        paths."""
        with exclusive(
            self.session.workspace.locks,
            f"outputs-{name_of_outputs((*self.request.paths, self.request.manifest))}",
            on_wait=self._waits,
        ):
            return self._made()

    def _waits(self, holder: str) -> None:
        self.session.report.say(f"waiting for {holder}, which writes the same files")

    def _made(self) -> tuple[Path, ...]:
        if self.stands:
            report_cached(self.job.plan, self.session.report)
            with self.session.report.task("artefacts") as task:
                task.note("as they were made")
            return (*self.request.paths, *self._beside())
        paths = self.session.with_root(
            self.job, self._make, needs_directory=needs_directory(self.request, loop=self.loop)
        )
        if (standing := self._standing()) is not None:
            standing.save()
        return paths

    def _beside(self) -> tuple[Path, ...]:
        """Files that steps left, as the manifest says."""
        try:
            manifest = recorded.read(self.request.manifest).manifest
        except ManifestError:
            return ()
        directory = self.request.output.absolute().parent
        return tuple(directory / str(entry["name"]) for entry in manifest.get("beside", ()))

    @property
    def stands(self) -> bool:
        """Whether the artefacts are there as they were made, and nothing that they are made of has changed."""
        standing = self._standing()
        return standing is not None and not self.session.settings.refresh and standing.stand()

    def _standing(self) -> StandingArtefacts | None:
        """The record of these artefacts; None where something besides dibo decides on their bytes, or where layers are
        to be exchanged with registries."""
        request, session = self.request, self.session
        own = resources.shared("converters")
        commands = any(kind.command and kind.path.parent != own for kind in request.converters)
        if commands or self.hooked is not None or self.loop:
            return None
        if session.caches is not None or session.distrusted:
            return None
        return StandingArtefacts(
            directory=session.workspace.root / "artefacts",
            ingredients={
                "image": self.job.plan.image_key,
                "time": session.settings.source_date_epoch,
                "manifest": self._manifest(),
                "options": dict(request.options),
                "types": [[kind.type, kind.ending, kind.unit] for kind in request.converters],
                "limits": str(request.limits),
                "loader": str(request.loader),
                "mkfs": [*request.mkfs_options],
                "bare": [request.bare_label, str(request.bare_headroom)],
                "signer": _signer(request),
            },
            paths=[
                *request.paths,
                request.manifest,
                *self._beside(),
                *(map(checksum_path, request.paths) if request.checksums else ()),
                *(map(md5_path, request.paths) if request.md5 else ()),
                *([provenance_path(request.manifest)] if request.provenance is not None else ()),
            ],
        )

    def _make(self, root: Root) -> tuple[Path, ...]:
        source = DiskSource(
            root=root,
            identity=self.job.plan.image_key,
            epoch=self.session.settings.source_date_epoch,
            manifest=self._manifest(),
        )
        setup = self.session.setup
        plan = plan_disk(self.request, source, setup, hooked=self.hooked, loop=self.loop)
        return convert(plan, setup)

    def _manifest(self) -> manifest.Document:
        request = self.request
        build = build_manifest.of_build(self.job, command="disk-image-create", options=request.options)
        return build | manifest.of_disk(
            size=request.size,
            size_set_by=request.size_set_by,
            filesystem=request.filesystem,
            layout=None if self.hooked is not None else request.layout,
            layout_of_a_file=request.layout_of_a_file,
            loop=self.loop,
        )


@contextmanager
def planned_disk(
    settings: Settings,
    report: Report,
    *,
    layout_file: GivenLayout | None,
    check_stack: Callable[[Stack], None] = lambda _: None,
) -> Iterator[PlannedDisk]:
    """Everything up to the plan of layers, with whatever can be refused refused: by `check_stack` before any hook runs.
    Hooks on the host have run."""
    check_outputs(settings.output, converters_of(settings))
    with new_run(settings) as (workspace, run):
        setup = Setup(run=run, report=report)
        stack = stack_of(settings, run)
        check_stack(stack)
        request = disk_request(settings, stack, report, layout_file=layout_file)
        with open_session(settings, setup, workspace=workspace) as session:
            loop = decide_loop(request, directory=session.engine.gives_directory, report=report)
            host = host_run(settings, stack, report)
            with hooked_disk(stack, request, setup, loop=loop, host=host) as hooked:
                job = session.job(stack)
                yield PlannedDisk(session=session, job=job, request=request, hooked=hooked, loop=loop)


def _signer(request: DiskRequest) -> str | None:
    """The fingerprint of the key that signs their provenance."""
    key = request.provenance.key if request.provenance is not None else None
    return key.public().fingerprint() if key is not None else None


@contextmanager
def taken_over_disk(
    settings: Settings, report: Report, *, plan: Plan, extra: ExtraFiles, request: DiskRequest
) -> Iterator[PlannedDisk]:
    """As `planned_disk`, of what another process of the same run decided, where all hooks on the host but those of
    block-device.d have run."""
    with new_run(settings) as (workspace, run):
        setup, stack = Setup(run=run, report=report), plan.recipe.stack
        with open_session(settings, setup, workspace=workspace) as session:
            loop = decide_loop(request, directory=session.engine.gives_directory, report=report)
            host = host_run(settings, stack, report)
            with hooked_disk(stack, request, setup, loop=loop, host=host) as hooked:
                job = session.take_over(plan, extra)
                yield PlannedDisk(session=session, job=job, request=request, hooked=hooked, loop=loop)


def disk_request(
    settings: Settings, stack: Stack, report: Report, *, layout_file: GivenLayout | None
) -> DiskRequest:
    """What is wished for, checked, after the hooks of block-device-size.d have run."""
    warn_of_flavours(settings, stack, report)  # before any hook runs on this machine
    request = _request(settings, stack, converters_of(settings), layout_file, report)
    check_request(request)
    return request


def _request(
    settings: Settings,
    stack: Stack,
    converters: tuple[Converter, ...],
    layout_file: GivenLayout | None,
    report: Report,
) -> DiskRequest:
    """What is wished for, by options, variables, flavours, and hooks of these that set the size."""
    layout = layout_of_stack.chosen_for(stack, layout_file)
    if layout_file is not None:
        for name in layout_choice.left_out(stack.disk, layout):
            report.warn(f"the layout has no partition {name!r}, which flavours of the stack have in theirs")
    check_filesystem(layout, settings.filesystem, set_by=settings.filesystem_set_by)
    size, set_by = layout_choice.start_size(layout, size=settings.image_size, set_by=settings.size_set_by)
    size, set_by = host_hooks.image_size(
        stack, size=size, set_by=set_by, host=host_run(settings, stack, report)
    )
    if not isinstance(stack, MixedStack):
        for warning in unused_of_elements(settings.environment):
            report.warn(warning)
    bare = layout_of_stack.bare_for(stack, set_by=set_by)
    if isinstance(stack, MixedStack) and NO_FINAL_IMAGE in stack.all_names:
        converters = tuple(converter for converter in converters if not converter.has_disk)
    return DiskRequest(
        output=settings.output,
        converters=converters,
        layout=layout_choice.settled(layout, set_by=set_by),
        bare_label=bare.label,
        bare_headroom=bare.headroom,
        layout_of_a_file=layout_file is not None,
        filesystem=settings.filesystem,
        size=size,
        size_set_by=set_by,
        architecture=settings.architecture,
        md5=wants_md5(settings.environment),
        mkfs_options=mkfs_words(settings.environment),
        options=settings.converter_options,
        loop=settings.loop,
        provenance=provenance_request(settings),
    )

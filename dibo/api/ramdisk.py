"""From flavours to a ramdisk: the layers of a stack as for a disk, and a ramdisk of the root."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dibo.api.session import Session, new_run, open_session, stack_of
from dibo.artefacts import build_manifest, manifest
from dibo.artefacts.provenance import provenance_request
from dibo.build.build import Job
from dibo.build.context import ExtraFiles
from dibo.build.engine import Root, Setup
from dibo.flavours.loader import load_wishes
from dibo.flavours.ramdisk_requests import Fragment, RamdiskRequests
from dibo.flavours.stack import Stack
from dibo.plan.plan import Plan
from dibo.ramdisk.init import Script, assemble
from dibo.ramdisk.lint import check
from dibo.ramdisk.make import RamdiskSpec, rules_named
from dibo.ramdisk.settings import RamdiskSettings
from dibo.ramdisk.write import check_output, write_ramdisk
from dibo.settings.settings import Settings
from dibo.system import resources
from dibo.system.report import Report


def create(settings: Settings, ramdisk: RamdiskSettings, report: Report) -> tuple[Path, ...]:
    """Make the initramfs and the kernel; their paths."""
    with planned_ramdisk(settings, ramdisk, report) as planned:
        return planned.make()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRamdisk:
    """A ramdisk whose layers are known, and that can be made."""

    session: Session
    job: Job
    ramdisk: RamdiskSettings
    order: RamdiskSpec

    def make(self) -> tuple[Path, ...]:
        """Build the layers that are missing, and make initramfs and kernel; their paths."""
        return self.session.with_root(self.job, self._make)

    def _make(self, root: Root) -> tuple[Path, ...]:
        ramdisk, compression = self.ramdisk, self.ramdisk.compression
        document = build_manifest.of_build(self.job, command="ramdisk-image-create", options={})
        document |= manifest.of_ramdisk(
            kernel_version=ramdisk.kernel_version,
            compression=f"{compression.method}:{compression.level}",
            microcode=ramdisk.microcode,
            own_kernel=ramdisk.module_root is not None,
            own_busybox=ramdisk.busybox is not None,
        )
        return write_ramdisk(
            root,
            self.order,
            ramdisk.output,
            self.session.setup,
            manifest=document,
            provenance=provenance_request(self.session.settings),
        )


@contextmanager
def planned_ramdisk(
    settings: Settings,
    ramdisk: RamdiskSettings,
    report: Report,
    *,
    check_stack: Callable[[Stack], None] = lambda _: None,
) -> Iterator[PlannedRamdisk]:
    """Everything up to the plan of layers, with whatever can be refused refused: by `check_stack` before any hook
    runs."""
    check_output(ramdisk.output)
    with new_run(settings) as (workspace, run):
        setup = Setup(run=run, report=report)
        stack = stack_of(settings, run)
        check_stack(stack)
        order = checked_order(settings, ramdisk, stack, setup)
        with open_session(settings, setup, workspace=workspace) as session:
            yield PlannedRamdisk(session=session, job=session.job(stack), ramdisk=ramdisk, order=order)


@contextmanager
def taken_over_ramdisk(
    settings: Settings, ramdisk: RamdiskSettings, report: Report, *, plan: Plan, extra: ExtraFiles
) -> Iterator[PlannedRamdisk]:
    """As `planned_ramdisk`, of what another process of the same run decided and checked."""
    with new_run(settings) as (workspace, run):
        requests = tuple(load_wishes(flavour) for flavour in plan.recipe.stack.flavours)
        script, _ = script_of(requests)
        order = make_order(ramdisk, requests, script, epoch=settings.source_date_epoch)
        with open_session(settings, Setup(run=run, report=report), workspace=workspace) as session:
            job = session.take_over(plan, extra)
            yield PlannedRamdisk(session=session, job=job, ramdisk=ramdisk, order=order)


def checked_order(settings: Settings, ramdisk: RamdiskSettings, stack: Stack, setup: Setup) -> RamdiskSpec:
    """What goes in. Warns of what its /init cannot do. Raises RamdiskError, FlavourError."""
    requests = tuple(load_wishes(flavour) for flavour in stack.flavours)
    script, fragments = script_of(requests)
    order = make_order(ramdisk, requests, script, epoch=settings.source_date_epoch)
    for warning in check(script, fragments, directory=setup.run.subdirectory("init")):
        setup.report.warn(warning)
    return order


def make_order(
    ramdisk: RamdiskSettings, requests: tuple[RamdiskRequests, ...], script: Script, *, epoch: int
) -> RamdiskSpec:
    """What goes in, from the stack and from the converter's own files."""
    own = resources.shared("converters") / "initramfs"
    return RamdiskSpec(
        requests=requests,
        init=script.text,
        udhcpc=(own / "udhcpc").read_bytes(),
        rules=rules_named((own / "udev-rules").read_text()),
        epoch=epoch,
        compression=ramdisk.compression,
        kernel_version=ramdisk.kernel_version,
        module_root=ramdisk.module_root,
        busybox=ramdisk.busybox,
        microcode=ramdisk.microcode,
    )


def script_of(requests: tuple[RamdiskRequests, ...]) -> tuple[Script, tuple[Fragment, ...]]:
    """/init, and the fragments of flavours in it."""
    own = resources.shared("converters") / "initramfs" / "init.d"
    begin = [_own(path) for path in sorted((own / "begin.d").iterdir())]
    fragments = tuple(request.init for request in requests if request.init is not None)
    return assemble(begin, fragments, _own(own / "end")), fragments


def _own(path: Path) -> Fragment:
    return Fragment(flavour="", path=str(path), text=path.read_text())

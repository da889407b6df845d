"""From a root to artefacts: the second half of the spine.

A root is read once; the bytes of its files go to their places as they stream by: into the file system of every
requested disk, and into a spool for the converters that take a tar. What takes a raw disk is made of that file
afterwards. All files get their names together, at the end.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from dibo.artefacts.converter import Converter, Takes
from dibo.artefacts.manifest import Facts, artefacts, complete, manifest_text
from dibo.artefacts.outputs import Outputs, size_of
from dibo.boot.boot_files import BootFiles
from dibo.boot.prepare_root import PreparedRoot
from dibo.build.engine import Setup
from dibo.disk.adapt import install
from dibo.disk.built_in.job import ConversionJob, RootTree
from dibo.disk.built_in.table import BUILT_IN
from dibo.disk.make import make_disks
from dibo.disk.plan import DiskPlan, DiskTargets
from dibo.errors import CommandFailed, ConverterError, OutputError
from dibo.formats.open_target import TYPES as DISK_TYPES
from dibo.images.layers.load import Tree
from dibo.images.layers.spool import Spool
from dibo.images.layers.tar_writer import write_tar
from dibo.system import disk_space, process
from dibo.system.process import Process, Streams
from dibo.system.report import Report
from dibo.tree.dpkg import installed
from dibo.tree.mounts import Mounted
from dibo.tree.node import Node
from dibo.units import human_size

_SECOND: Final = 1_000_000_000


def convert(plan: DiskPlan, setup: Setup) -> tuple[Path, ...]:
    """Make every artefact; the paths of what was made. Raises what dibo.errors has on layers, layouts and outputs."""
    request = plan.request
    commands = [
        converter for converter in request.converters if converter.command or converter.type in BUILT_IN
    ]
    with Outputs(setup.run) as outputs, ExitStack() as stack:
        parts = {kind.type: _part(outputs, kind, request.path(kind.type)) for kind in request.converters}
        disks = {kind: part for kind, part in parts.items() if kind in DISK_TYPES}
        for kind, takes in (("raw", Takes.DISK), ("qcow2", Takes.QCOW2)):
            if kind not in disks and any(converter.takes is takes for converter in commands):
                disks[kind] = setup.run.subdirectory(kind) / f"disk.{kind}"
        spool = None
        if any(converter.takes is Takes.ROOT for converter in commands):
            spool = Spool(stack.enter_context(tempfile.TemporaryFile(dir=setup.run.directory)))
        targets = DiskTargets(disks=disks, spool=spool)
        tree = make_disks(plan, targets, setup)
        if spool is not None:
            _settle(tree.root, plan, spool)
        for converter in commands:
            _run_converter(converter, parts[converter.type], plan, targets, tree.root, setup.report)
        _record(plan, tree, parts, outputs, setup.report)
        outputs.publish()
    return request.paths


def _settle(root: Node, plan: DiskPlan, spool: Spool) -> None:
    """With a kit, archives have the application as disks do."""
    attachment, epoch = plan.source.attachment, plan.source.epoch
    if attachment is not None:
        settled = attachment.settle(root, PreparedRoot(boot=BootFiles()))
        install(Mounted(root, (), mtime=epoch * _SECOND), settled, lambda _: spool, epoch=epoch)


def _part(outputs: Outputs, converter: Converter, path: Path) -> Path:
    return outputs.directory(path) if converter.makes_directory else outputs.artefact(path)


def _record(plan: DiskPlan, tree: Tree, parts: dict[str, Path], outputs: Outputs, report: Report) -> None:
    """Write checksums and the manifest, if they are requested."""
    request = plan.request
    sums = outputs.checksums(request.paths, report) if request.checksums else ()
    if plan.source.manifest is not None:
        facts = Facts(layers=tree.digests, packages=installed(tree.root))
        sizes = [size_of(part) for part in parts.values()]
        made = artefacts(tuple(parts), request.paths, sizes, sums)
        outputs.record(request.manifest, manifest_text(complete(plan.source.manifest, facts, made)))


def _run_converter(
    converter: Converter, target: Path, plan: DiskPlan, targets: DiskTargets, root: Node, report: Report
) -> None:
    with report.task(converter.type) as task:
        try:
            if not converter.command:
                BUILT_IN[converter.type](_job(converter, target, plan, targets, root, report))
            elif converter.has_disk:
                argv = [*_argv(converter), str(_disk(converter, targets)), str(target)]
                process.run(argv, env=_environment(plan), streams=process.Streams(on_output=report.line))
            else:
                assert targets.spool is not None
                _run_on_tar(converter, target, plan, root, targets.spool, report)
        except CommandFailed as error:
            raise _failure(converter, target, error) from error
        task.note(human_size(size_of(target)))


def _run_on_tar(
    converter: Converter, target: Path, plan: DiskPlan, root: Node, spool: Spool, report: Report
) -> None:
    argv = [*_argv(converter), str(target)]
    with Process(
        argv, env=_environment(plan), streams=Streams(stdin=process.PIPE, on_output=report.line)
    ) as running:
        try:
            write_tar(root, spool, running.stdin)
            running.stdin.close()
        except BrokenPipeError:  # its exit code says more
            pass
        code = running.wait()
    if code != 0:
        raise process.failure(argv, code, running.tail)


def _job(
    converter: Converter, target: Path, plan: DiskPlan, targets: DiskTargets, root: Node, report: Report
) -> ConversionJob:
    return ConversionJob(
        target=target,
        name=plan.request.stem,
        architecture=plan.request.architecture,
        size=plan.size,
        identity=plan.source.image_identity,
        options=plan.request.options,
        disk=_disk(converter, targets) if converter.has_disk else None,
        root=RootTree(node=root, spool=targets.spool) if targets.spool is not None else None,
        root_uuid=plan.root_uuid,
        sign=plan.request.sign,
        warn=report.warn,
    )


def _disk(converter: Converter, targets: DiskTargets) -> Path:
    return targets.disks["qcow2" if converter.takes is Takes.QCOW2 else "raw"]


def _argv(converter: Converter) -> list[str]:
    program = converter.command[0]
    return [str(converter.path / program) if "/" in program else program, *converter.command[1:]]


def _environment(plan: DiskPlan) -> dict[str, str]:
    return {
        **plan.request.options,
        "SOURCE_DATE_EPOCH": str(plan.source.epoch),
        "DIBO_UUID": str(plan.source.image_identity.uuid),
    }


def _failure(converter: Converter, target: Path, error: CommandFailed) -> ConverterError | OutputError:
    if disk_space.says_full(error.tail):
        places = (target.parent, disk_space.temporary_directory())
        return OutputError(f"cannot write {target}: the disk is full: {disk_space.describe(places)}")
    return ConverterError(
        f"the converter {converter.type} failed: {error.message}",
        hint="\n".join(f"| {line}" for line in error.tail),
    )

"""From a root to artefacts: the second half of the spine.

A root is read once; the bytes of its files go to their places as they stream by: into the file system of every
requested disk or type, and into a spool for the converters that take a tar. What takes a raw disk is made of that file
afterwards. All files get their names together, at the end.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.artefacts.checksums import room_of, size_of
from dibo.artefacts.converter import Converter, Takes
from dibo.artefacts.manifest import Facts, artefacts, beside, complete, manifest_text
from dibo.artefacts.outputs import Outputs
from dibo.artefacts.provenance import ManifestFile, provenance_path, provenance_text
from dibo.boot.boot_files import BootFiles
from dibo.boot.prepared import PreparedRoot
from dibo.build.engine import Setup
from dibo.disk.adapt import install
from dibo.disk.built_in.job import ConversionJob, RootTree
from dibo.disk.built_in.root_contents import RootContents
from dibo.disk.built_in.table import BUILT_IN, ROOT_CHECKS, STREAMED
from dibo.disk.make import make_disks
from dibo.disk.plan import DiskPlan, DiskTargets
from dibo.disk.request import DiskRequest
from dibo.errors import CommandFailed, ConverterError, OutputError, RootNotBootable
from dibo.formats.open_target import TYPES as DISK_TYPES
from dibo.images.layers.load import Tree
from dibo.images.layers.spool import Spool
from dibo.images.layers.tar_writer import write_tar
from dibo.system import disk_space, process
from dibo.system.process import Process, Streams
from dibo.system.profiling import trace as profiling
from dibo.system.report import Report
from dibo.tree.dpkg import installed
from dibo.tree.mounts import Mounted
from dibo.tree.node import Contents, Node
from dibo.units import human_size

_SECOND: Final = 1_000_000_000


def convert(plan: DiskPlan, setup: Setup) -> tuple[Path, ...]:
    """Make every artefact; the paths of what was made. Raises what dibo.errors has on layers, layouts and outputs."""
    request = plan.request
    commands = [
        converter
        for converter in request.converters
        if converter.command or converter.type in (*BUILT_IN, *STREAMED)
    ]
    with Outputs(setup.run) as outputs, ExitStack() as stack:
        parts = {kind.type: _part(outputs, kind, request.path(kind.type)) for kind in request.converters}
        disks = {kind: part for kind, part in parts.items() if kind in DISK_TYPES}
        for kind, takes in (("raw", Takes.DISK), ("qcow2", Takes.QCOW2)):
            if kind not in disks and any(converter.takes is takes for converter in commands):
                disks[kind] = setup.run.subdirectory(kind) / f"disk.{kind}"
        contents = _root_contents(plan, commands, parts, setup, stack)
        targets = DiskTargets(disks=disks, others=contents.everywhere, restart=contents.restart)
        tree = make_disks(plan, targets, setup)
        if targets.others is not None:
            _settle(tree.root, plan, targets.others)
        making = _Making(plan=plan, setup=setup, disks=disks, contents=contents, tree=tree)
        _check_root(tree.root, plan.request)
        files = {request.output.absolute().parent / name: data for name, data in tree.beside.items()}
        for path, data in files.items():
            outputs.beside(path, data)
        for converter in commands:
            _run_converter(converter, parts[converter.type], making, setup.report)
        with profiling.span("checksums and manifest"):
            _record(plan, making.tree, parts, outputs, setup.report)
        outputs.publish()
    return (*request.paths, *files)


def _check_root(root: Node, request: DiskRequest) -> None:
    """Refuse what cannot be made of the root, before any of it is made. Raises RootNotBootable, with the type."""
    for converter in request.converters:
        if not converter.command and converter.type in ROOT_CHECKS:
            try:
                ROOT_CHECKS[converter.type](root, request.architecture)
            except RootNotBootable as error:
                error.of_type = converter.type
                raise


def _settle(root: Node, plan: DiskPlan, contents: Contents) -> None:
    """With a kit, archives have the application as disks do."""
    attachment, epoch = plan.source.attachment, plan.source.epoch
    if attachment is not None:
        settled = attachment.settle(root, PreparedRoot(boot=BootFiles()))
        install(Mounted(root, (), mtime=epoch * _SECOND), settled, lambda _: contents, epoch=epoch)


def _part(outputs: Outputs, converter: Converter, path: Path) -> Path:
    return outputs.directory(path) if converter.makes_directory else outputs.artefact(path)


def _record(plan: DiskPlan, tree: Tree, parts: dict[str, Path], outputs: Outputs, report: Report) -> None:
    """Write checksums and the manifest, if they are requested."""
    request = plan.request
    if request.checksums or request.provenance is not None:
        sums = outputs.checksums(request.paths, report)
    else:  # a directory is replaced only if it is as its manifest says
        sums = tuple(outputs.tree_digest(path) for path in request.paths)
    if request.md5:
        outputs.md5_sums(request.paths, report)
    if plan.source.manifest is not None:
        facts = Facts(layers=tree.digests, packages=installed(tree.root))
        sizes = [size_of(part) for part in parts.values()]
        made = artefacts(tuple(parts), request.paths, sizes, sums)
        about = dict(plan.source.manifest)
        if plan.source.attachment is not None:
            about["kit"] = {**about["kit"], **plan.source.attachment.facts(tree.root)}
        if tree.beside:
            about["beside"] = beside(tree.beside)
        manifest = complete(about, facts, made)
        text = manifest_text(manifest)
        outputs.record(request.manifest, text)
        if request.provenance is None:
            outputs.drop(provenance_path(request.manifest))
        else:
            record = ManifestFile.of(request.manifest.name, text.encode())
            statement = provenance_text(manifest, record, request.provenance)
            outputs.record(provenance_path(request.manifest), statement)


def _root_contents(
    plan: DiskPlan, commands: list[Converter], parts: dict[str, Path], setup: Setup, stack: ExitStack
) -> RootContents:
    """A spool if a type needs one, and the types that are written while the root is read."""
    streamed = [converter.type for converter in commands if _is_streamed(converter)]
    spool = None
    if any(converter.takes is Takes.ROOT and converter.type not in streamed for converter in commands):
        file = tempfile.TemporaryFile(dir=setup.run.directory)  # noqa: SIM115  the stack closes it
        spool = Spool(stack.enter_context(file))
    images = {
        kind: stack.enter_context(
            STREAMED[kind](parts[kind], identity=plan.source.image_identity, name=plan.request.path(kind))
        )
        for kind in streamed
    }
    return RootContents(spool, images)


def _is_streamed(converter: Converter) -> bool:
    """Whether dibo makes the type itself, while the root is read. A converter of that name may have a command."""
    return converter.type in STREAMED and not converter.command


@dataclass(frozen=True, slots=True, kw_only=True)
class _Making:
    """What types are made of, once the root was read."""

    plan: DiskPlan
    setup: Setup
    disks: dict[str, Path]
    contents: RootContents
    tree: Tree


def _run_converter(converter: Converter, target: Path, making: _Making, report: Report) -> None:
    root = making.tree.root
    with report.task(converter.type) as task:
        try:
            if _is_streamed(converter):
                making.contents.finish(converter.type, root)
            elif not converter.command:
                making.contents.choose_spool(root)
                BUILT_IN[converter.type](_job(converter, target, making, report))
            elif converter.has_disk:
                argv = [*_argv(converter), str(_disk(converter, making)), str(target)]
                streams = process.Streams(on_output=report.line)
                process.run(argv, env=_environment(making.plan), streams=streams)
            else:
                making.contents.choose_spool(root)
                _run_on_tar(converter, target, making, report)
        except CommandFailed as error:
            raise _failure(converter, target, error) from error
        except RootNotBootable as error:
            error.of_type = converter.type
            raise
        task.note(human_size(room_of(target)))  # as the answer says


def _run_on_tar(converter: Converter, target: Path, making: _Making, report: Report) -> None:
    assert making.contents.spool is not None
    argv = [*_argv(converter), str(target)]
    with Process(
        argv,
        env=_environment(making.plan),
        streams=Streams(stdin=process.PIPE, on_output=report.line),
    ) as running:
        try:
            write_tar(making.tree.root, making.contents.spool, running.stdin)
            running.stdin.close()
        except BrokenPipeError:  # its exit code says more
            pass
        code = running.wait()
    if code != 0:
        raise process.failure(argv, code, running.tail)


def _job(converter: Converter, target: Path, making: _Making, report: Report) -> ConversionJob:
    plan, spool = making.plan, making.contents.spool
    return ConversionJob(
        target=target,
        name=plan.request.stem,
        architecture=plan.request.architecture,
        size=plan.size,
        identity=plan.source.image_identity,
        options=plan.request.options,
        disk=_disk(converter, making) if converter.has_disk else None,
        root=RootTree(node=making.tree.root, spool=spool) if spool is not None else None,
        root_uuid=plan.root_uuid,
        sign=plan.request.sign,
        scratch=making.setup.run.subdirectory(converter.type),
        warn=report.warn,
        on_output=report.line,
    )


def _disk(converter: Converter, making: _Making) -> Path:
    return making.disks["qcow2" if converter.takes is Takes.QCOW2 else "raw"]


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

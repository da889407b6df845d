"""From a root to artefacts: the second half of the spine.

A root is read once; the bytes of its files go to their places as they stream by: into the file system of every
requested disk, and into a spool for the converters that take a tar. What takes a raw disk is made of that file
afterwards. All files get their names together, at the end.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid5

from dibo.artefacts.converter import Converter, Takes
from dibo.artefacts.manifest import Facts, artefacts, complete, manifest_text
from dibo.artefacts.outputs import Outputs
from dibo.build.engine import Setup
from dibo.disk.make import make_disks
from dibo.disk.plan import DiskPlan, DiskTargets
from dibo.errors import CommandFailed, ConverterError, OutputError
from dibo.images.layers.load import Tree
from dibo.images.layers.spool import Spool
from dibo.images.layers.tar_writer import write_tar
from dibo.layout.identity import NAMESPACE
from dibo.system import disk_space, process
from dibo.system.process import Process, Streams
from dibo.system.report import Report
from dibo.tree.dpkg import installed
from dibo.tree.node import Node
from dibo.units import human_size


def convert(plan: DiskPlan, setup: Setup) -> tuple[Path, ...]:
    """Make every artefact; the paths of what was made. Raises what dibo.errors has on layers, layouts and outputs."""
    request = plan.request
    commands = [converter for converter in request.converters if converter.command]
    with Outputs(setup.run) as outputs, ExitStack() as stack:
        parts = {kind.type: outputs.artefact(request.path(kind.type)) for kind in request.converters}
        raw = parts.get("raw")
        if raw is None and any(converter.takes is Takes.DISK for converter in commands):
            raw = setup.run.subdirectory("disk") / "disk.raw"
        spool = None
        if any(converter.takes is Takes.ROOT for converter in commands):
            spool = Spool(stack.enter_context(tempfile.TemporaryFile(dir=setup.run.directory)))
        targets = DiskTargets(raw=raw, qcow2=parts.get("qcow2"), spool=spool)
        tree = make_disks(plan, targets, setup)
        for converter in commands:
            _run_converter(converter, parts[converter.type], plan, targets, tree.root, setup.report)
        _record(plan, tree, parts, outputs)
        outputs.publish()
    return request.paths


def _record(plan: DiskPlan, tree: Tree, parts: dict[str, Path], outputs: Outputs) -> None:
    """Write checksums and the manifest, if they are requested."""
    request = plan.request
    sums = tuple(map(outputs.checksum, request.paths)) if request.checksums else ()
    if plan.source.manifest is not None:
        facts = Facts(layers=tree.digests, packages=installed(tree.root))
        sizes = [part.stat().st_size for part in parts.values()]
        made = artefacts(tuple(parts), request.paths, sizes, sums)
        outputs.record(request.manifest, manifest_text(complete(plan.source.manifest, facts, made)))


def _run_converter(
    converter: Converter, target: Path, plan: DiskPlan, targets: DiskTargets, root: Node, report: Report
) -> None:
    with report.task(converter.type) as task:
        try:
            if converter.takes is Takes.DISK:
                argv = [*_argv(converter), str(targets.raw), str(target)]
                process.run(argv, env=_environment(plan), streams=process.Streams(on_output=report.line))
            else:
                assert targets.spool is not None
                _run_on_tar(converter, target, plan, root, targets.spool, report)
        except CommandFailed as error:
            raise _failure(converter, target, error) from error
        task.note(human_size(target.stat().st_size))


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


def _argv(converter: Converter) -> list[str]:
    program = converter.command[0]
    return [str(converter.path / program) if "/" in program else program, *converter.command[1:]]


def _environment(plan: DiskPlan) -> dict[str, str]:
    return {
        **plan.request.options,
        "SOURCE_DATE_EPOCH": str(plan.source.epoch),
        "DIBO_UUID": str(uuid5(NAMESPACE, plan.source.identity)),
    }


def _failure(converter: Converter, target: Path, error: CommandFailed) -> ConverterError | OutputError:
    if disk_space.says_full(error.tail):
        places = (target.parent, disk_space.temporary_directory())
        return OutputError(f"cannot write {target}: the disk is full: {disk_space.describe(places)}")
    return ConverterError(
        f"the converter {converter.type} failed: {error.message}",
        hint="\n".join(f"| {line}" for line in error.tail),
    )

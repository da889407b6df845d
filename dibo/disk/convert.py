"""From a root to artefacts: the second half of the spine.

A root is read once; the bytes of its files go to their places as they stream by: into the file system of every disk
that is wanted, and into a spool for the converters that take a tar. What takes a raw disk is made of that file
afterwards.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid5

from dibo.artefacts.converter import Converter, Takes
from dibo.artefacts.manifest import Facts, artefacts, complete, write_checksum, write_manifest
from dibo.build.engine import Root
from dibo.disk.make import make_disks
from dibo.disk.request import Order
from dibo.errors import CommandFailed, ConverterError, OutputError
from dibo.images.layers.spool import Spool
from dibo.images.layers.tar_writer import write_tar
from dibo.layout.identity import NAMESPACE
from dibo.system import process
from dibo.system.process import Process
from dibo.system.report import Report
from dibo.system.workspace import Run
from dibo.tree.dpkg import installed
from dibo.tree.node import Node
from dibo.units import human_size


def convert(root: Root, order: Order, *, run: Run, report: Report) -> tuple[Path, ...]:
    """Make every artefact; the paths of what was made. Raises what dibo.errors has on layers, layouts and outputs."""
    with ExitStack() as outputs:
        parts = {
            converter.type: outputs.enter_context(run.output(order.path(converter.type)))
            for converter in order.converters
        }
        commands = [converter for converter in order.converters if converter.command]
        raw = parts.get("raw")
        if raw is None and any(each.takes is Takes.DISK for each in commands):
            raw = run.subdirectory("disk") / "disk.raw"
        spool = None
        if any(each.takes is Takes.ROOT for each in commands):
            spool = Spool(outputs.enter_context(tempfile.TemporaryFile(dir=run.directory)))
        tree = make_disks(root, order, raw=raw, qcow2=parts.get("qcow2"), spool=spool, run=run, report=report)
        for converter in commands:
            with report.task(converter.type) as task:
                part = parts[converter.type]
                try:
                    if converter.takes is Takes.DISK:
                        _run_on_disk(converter, part, order, report, raw=raw)
                    else:
                        _run_on_tar(converter, part, order, report, tree=tree.root, spool=spool)
                except CommandFailed as error:
                    raise _failure(converter, part, error) from error
                task.note(human_size(part.stat().st_size))
    made = tuple(order.path(converter.type) for converter in order.converters)
    sums = tuple(write_checksum(path, run) for path in made) if order.checksums else ()
    if order.about is not None:
        kinds = [converter.type for converter in order.converters]
        facts = Facts(layers=tree.digests, packages=installed(tree.root))
        write_manifest(complete(order.about, facts, artefacts(kinds, made, sums)), order.manifest, run)
    return made


def _run_on_disk(
    converter: Converter, target: Path, order: Order, report: Report, *, raw: Path | None
) -> None:
    argv = [*_argv(converter), str(raw), str(target)]
    process.run(argv, env=_environment(order), on_output=report.line)


def _run_on_tar(
    converter: Converter, target: Path, order: Order, report: Report, *, tree: Node, spool: Spool | None
) -> None:
    assert spool is not None
    argv = [*_argv(converter), str(target)]
    with Process(argv, env=_environment(order), stdin=process.PIPE, on_output=report.line) as running:
        try:
            write_tar(tree, spool, running.stdin)
            running.stdin.close()
        except BrokenPipeError:  # its exit code says more
            pass
        code = running.wait()
    if code != 0:
        raise process.failure(argv, code, running.tail)


def _argv(converter: Converter) -> list[str]:
    program = converter.command[0]
    return [str(converter.path / program) if "/" in program else program, *converter.command[1:]]


def _environment(order: Order) -> dict[str, str]:
    return {
        **order.options,
        "SOURCE_DATE_EPOCH": str(order.epoch),
        "DIBO_UUID": str(uuid5(NAMESPACE, order.identity)),
    }


def _failure(converter: Converter, target: Path, error: CommandFailed) -> ConverterError | OutputError:
    if any("No space left" in line for line in error.tail):
        return OutputError(f"cannot write {target.parent}: the disk is full")
    return ConverterError(
        f"the converter {converter.type} failed: {error.message}",
        hint="\n".join(f"| {line}" for line in error.tail),
    )

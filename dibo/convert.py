"""From a root to artefacts: the second half of the spine.

The raw disk is made once, under its final name when it was asked for; everything that takes a disk is made of it,
everything that takes a root is made of one tar stream each.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from uuid import uuid5

from dibo import process
from dibo.converter import Converter, Takes
from dibo.disk.bootfiles import BootFiles
from dibo.disk.identity import NAMESPACE, identify
from dibo.disk.image import write_disk
from dibo.disk.partition import FileSystem, Layout
from dibo.disk.placement import Placement, place
from dibo.disk.rawfile import RawFile
from dibo.disk.targets import copy_raw, open_target
from dibo.errors import CommandFailed, ConverterError, LayoutError, OutputError, ToolMissing, UsageError
from dibo.mke2fs import TYPES, FileSystemWish, check_fits, make_filesystem
from dibo.ports import Root
from dibo.report import Report
from dibo.tools import how_to_install
from dibo.tree import Usage, measure, read_boot_files, tar_stream
from dibo.units import human_size
from dibo.workspace import Run

BARE_LABEL: Final = "cloudimg-rootfs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What artefacts are wanted. Sizes in bytes, `epoch` in seconds since 1970."""

    output: Path
    """The path without the type."""
    converters: tuple[Converter, ...]
    layout: Layout | None
    """None makes a bare file system."""
    filesystem: str
    image_size: int
    size_set_by: str
    identity: str
    architecture: str
    epoch: int
    options: Mapping[str, str]
    """Variables for converters."""

    def for_image(self, identity: str) -> Order:
        """The same order for an image that is known by now."""
        return replace(self, identity=identity)

    def path(self, kind: str) -> Path:
        return output_path(self.output, kind)


def output_path(output: Path, kind: str) -> Path:
    """`web` and qcow2 give `web.qcow2`; a name that ends in the type already is taken as it is."""
    return output if output.name.endswith(f".{kind}") else output.with_name(f"{output.name}.{kind}")


def check_order(order: Order) -> None:
    """What can be refused before anything is built. Raises UsageError, OutputError, ToolMissing, LayoutError."""
    if not order.output.name:
        raise UsageError(
            f"{str(order.output)!r} is not the name of a file", hint="-o takes a name: web, or out/web"
        )
    paths = [order.path(converter.type) for converter in order.converters]
    if len(set(paths)) != len(paths):
        raise UsageError("two types would be written to the same file", hint="give -o a name without a type")
    directory = order.output.absolute().parent
    if not directory.is_dir():
        raise OutputError(
            f"the directory {directory} does not exist", hint="make it, or choose another with -o"
        )
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into {directory}", hint="choose another directory with -o")
    for path in paths:
        if path.is_dir():
            raise OutputError(f"{path} is a directory", hint="choose another name with -o")
    for converter in order.converters:
        for tool in converter.tools:
            if process.find(tool) is None:
                raise ToolMissing(
                    f"{tool} is not installed, and {converter.type} needs it", hint=how_to_install(tool)
                )
    if any(converter.takes is Takes.DISK for converter in order.converters):
        _check_disk(order)


def _check_disk(order: Order) -> None:
    kind = _root_type(order)
    if kind not in TYPES:
        raise LayoutError(
            f"dibo cannot make the file system {kind!r} yet", hint=f"use one of {', '.join(TYPES)}"
        )
    if process.find("mke2fs") is None:
        raise ToolMissing("mke2fs is not installed, and a disk needs it", hint=how_to_install("mke2fs"))
    if order.layout is not None:
        place(order.layout, size=order.image_size, identity=order.identity, architecture=order.architecture)


def _root_type(order: Order) -> str:
    """FS_TYPE decides for a bare file system, and between those of the ext family on a disk."""
    wanted = order.layout.root.filesystem if order.layout is not None else None
    if wanted is None or (wanted is FileSystem.EXT4 and order.filesystem in TYPES):
        return order.filesystem
    return wanted.value


def convert(root: Root, order: Order, *, run: Run, report: Report) -> tuple[Path, ...]:
    """Make every artefact; the paths of what was made. Raises what dibo.errors has on layouts and outputs."""
    made: list[Path] = []
    raw: Path | None = None
    disks = [converter for converter in order.converters if converter.takes is Takes.DISK]
    for converter in sorted(disks, key=lambda each: each.type != "raw"):  # the raw disk first
        target = order.path(converter.type)
        is_raw = converter.type == "raw" and not converter.command
        with run.output(target) as part:
            if is_raw:
                _make_disk(root, part, order, report)
            else:
                if raw is None:
                    raw = run.subdirectory("disk") / "disk.raw"
                    raw.touch()
                    _make_disk(root, raw, order, report)
                if converter.command:
                    _run_converter(converter, part, order, report, raw=raw)
                else:
                    _copy_disk(raw, part, order, report, kind=converter.type)
        raw = target if is_raw else raw
        made.append(target)
    for converter in order.converters:
        if converter.takes is Takes.ROOT:
            target = order.path(converter.type)
            with run.output(target) as part:
                _run_converter(converter, part, order, report, root=root)
            made.append(target)
    for path in made:
        _write_checksum(path, run)
    return tuple(made)


def _make_disk(root: Root, target: Path, order: Order, report: Report) -> None:
    with report.task("disk") as task:
        usage = measure(root)
        if order.layout is None:
            wish = _bare(order)
            check_fits(usage, wish, image_size=order.image_size, set_by=order.size_set_by)
            os.truncate(target, order.image_size)
        else:
            wish = _partitioned(root, target, order, order.layout, usage)
        make_filesystem(root, target, wish=wish, usage=usage, epoch=order.epoch, on_line=report.line)
        task.note(f"{human_size(usage.bytes)} of files on {human_size(order.image_size)}")


def _bare(order: Order) -> FileSystemWish:
    return FileSystemWish(
        type=_root_type(order),
        label=BARE_LABEL,
        offset=0,
        size=order.image_size,
        ids=identify(order.identity, "root"),
    )


def _partitioned(root: Root, target: Path, order: Order, layout: Layout, usage: Usage) -> FileSystemWish:
    """Write all of the disk but its root file system, and say where that goes."""
    placement = place(layout, size=order.image_size, identity=order.identity, architecture=order.architecture)
    wish = _wish(placement, order)
    check_fits(usage, wish, image_size=order.image_size, set_by=order.size_set_by)
    boot = _boot_files(root, layout)
    with RawFile(target, order.image_size) as disk:
        write_disk(disk, placement=placement, boot=boot, mtime=order.epoch)
    return wish


def _boot_files(root: Root, layout: Layout) -> BootFiles:
    if all(partition.content is None for partition in layout.partitions):
        return BootFiles(boot=None, core=None, esp={})
    return read_boot_files(root)


def _wish(placement: Placement, order: Order) -> FileSystemWish:
    partition = placement.root
    return FileSystemWish(
        type=_root_type(order),
        label=partition.wish.label,
        offset=partition.offset,
        size=partition.size,
        ids=partition.ids,
    )


def _copy_disk(raw: Path, target: Path, order: Order, report: Report, *, kind: str) -> None:
    size = order.image_size
    with report.task(kind) as task:
        with (
            raw.open("rb") as source,
            open_target(kind, target, size, order.options, name=order.path(kind)) as disk,
        ):
            copy_raw(source, disk)
        task.note(human_size(target.stat().st_size))


def _run_converter(
    converter: Converter,
    target: Path,
    order: Order,
    report: Report,
    *,
    raw: Path | None = None,
    root: Root | None = None,
) -> None:
    program = converter.path / converter.command[0]
    argv = [str(program) if "/" in converter.command[0] else converter.command[0], *converter.command[1:]]
    environment = {
        **order.options,
        "SOURCE_DATE_EPOCH": str(order.epoch),
        "DIBO_UUID": str(uuid5(NAMESPACE, order.identity)),
    }
    with report.task(converter.type) as task:
        try:
            if raw is not None:
                process.run([*argv, str(raw), str(target)], env=environment, on_line=report.line)
            elif root is not None:
                with tar_stream(root, epoch=order.epoch) as stream:
                    process.run([*argv, str(target)], env=environment, stdin=stream, on_line=report.line)
        except CommandFailed as error:
            if any("No space left" in line for line in error.tail):
                raise OutputError(f"cannot write {target.parent}: the disk is full") from error
            raise ConverterError(
                f"the converter {converter.type} failed: {error.message}",
                hint="\n".join(f"| {line}" for line in error.tail),
            ) from error
        task.note(human_size(target.stat().st_size))


def _write_checksum(path: Path, run: Run) -> None:
    """`NAME.sha256` as sha256sum(1) writes and checks it."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    with run.output(path.with_name(f"{path.name}.sha256")) as part:
        part.write_text(f"{digest}  {path.name}\n")

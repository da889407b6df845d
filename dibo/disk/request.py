"""What artefacts are wanted, and what can be refused before anything is read or built."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from dibo.artefacts.converter import Converter, Takes
from dibo.disk.device_hooks import HookedDisk, hooked_disk
from dibo.disk.filesystem_strategy import Choice, Way, choose_way
from dibo.disk.loop.check import check as check_loop
from dibo.disk.loop.mkfs import TYPES as LOOP_TYPES
from dibo.errors import LayoutError, LoopError, OutputError, ToolMissing, UsageError
from dibo.flavours.stack import Stack
from dibo.formats.open_target import qcow2_compression
from dibo.images.layers.limits import Limits
from dibo.layout.model import ROOT, FileSystem, Layout, Partition, Sizing
from dibo.layout.placement import place, smallest_disk
from dibo.system import process
from dibo.system.package_names import how_to_install
from dibo.system.report import Report
from dibo.system.workspace import Run

TYPES: Final = ("ext4", "ext3", "ext2")
"""File systems for a root: the first by dibo's own writer, the others by mke2fs."""
BY_KERNEL: Final = (FileSystem.EXT4, FileSystem.XFS, FileSystem.BTRFS)
"""What is made, on a loop device, by mkfs and mount."""
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
    layout_given: bool = True
    """Whether somebody laid out the disk for this root: flavours, the image itself, or the user."""
    epoch: int
    clamp: bool = True
    """Whether times in the root that are later than `epoch` become `epoch`."""
    options: Mapping[str, str]
    """Variables for converters."""
    limits: Limits = field(default_factory=Limits)
    """What a root may hold at most."""
    checksums: bool = True
    """Whether `NAME.sha256` goes beside each artefact."""
    about: Mapping[str, Any] | None = None
    """What the manifest says of the image beside what reading it tells; None writes no manifest."""
    loop: bool = False
    """Whether disks are made on a loop device."""
    hooked: HookedDisk | None = None
    """The disk that hooks of block-device.d laid out; then there is no layout."""

    def for_image(self, identity: str) -> Order:
        """The same order for an image that is known by now."""
        return replace(self, identity=identity)

    def path(self, kind: str) -> Path:
        return output_path(self.output, kind)

    @property
    def manifest(self) -> Path:
        """Where the manifest goes: `web.qcow2` and `web` give `web.manifest.json`."""
        kinds = [f".{each.type}" for each in self.converters if self.output.name.endswith(f".{each.type}")]
        name = self.output.name.removesuffix(kinds[0]) if kinds else self.output.name
        return self.output.with_name(f"{name}.manifest.json")


def output_path(output: Path, kind: str) -> Path:
    """`web` and qcow2 give `web.qcow2`; a name that ends in the type already is taken as it is."""
    return output if output.name.endswith(f".{kind}") else output.with_name(f"{output.name}.{kind}")


@contextmanager
def laid_out_by_hooks(
    order: Order, stack: Stack, *, environment: Mapping[str, str], run: Run, report: Report
) -> Iterator[Order]:
    """Run hooks of block-device.d: the order for the disk that they make, or as it was where they make none. What a
    hook lays out comes before a layout. Raises what hooked_disk and check_order raise."""
    with hooked_disk(
        stack,
        size=order.image_size,
        loop=order.loop,
        output=order.path("raw"),
        environment=environment,
        run=run,
        report=report,
    ) as hooked:
        if hooked is not None:
            if order.layout is not None:
                report.say(f"{hooked.hook} laid out the disk: what flavours say about partitions is not used")
            order = replace(order, hooked=hooked, layout=None)
            check_order(order)
        yield order


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
    qcow2_compression(order.options)
    for converter in order.converters:
        for tool in converter.tools:
            if process.find(tool) is None:
                raise ToolMissing(
                    f"{tool} is not installed, and {converter.type} needs it", hint=how_to_install(tool)
                )
    if any(converter.takes is Takes.DISK for converter in order.converters):
        _check_disk(order)
    elif order.loop:
        raise UsageError(
            f"--loop makes disks, and none of {', '.join(each.type for each in order.converters)} is one",
            hint="leave out --loop, or add a type: -t raw,tar",
        )


def _check_disk(order: Order) -> None:
    kind = root_type(order)
    if order.loop:
        check_loop([kind, *_others(order.layout)], label="" if order.layout is not None else BARE_LABEL)
    elif order.layout is None or order.layout.root.filesystem is FileSystem.EXT4:
        _check_ext(kind)
    if order.layout is None:
        return
    size = order.image_size
    if order.layout.size is Sizing.FIT:
        size = smallest_disk(order.layout, {})
    place(order.layout, size=size, identity=order.identity, architecture=order.architecture)
    for partition in order.layout.partitions:
        choice = way_of(partition, order)
        if choice is not None and choice.way is Way.PROGRAM and process.find(choice.program) is None:
            raise ToolMissing(
                f"{choice.program} is not installed, and the partition {partition.name} needs it",
                hint=how_to_install(choice.program),
            )


def _check_ext(kind: str) -> None:
    if kind not in TYPES:
        hint = f"use one of {', '.join(TYPES)}"
        if kind in LOOP_TYPES:
            raise LayoutError(
                f"dibo cannot make the file system {kind!r} without root",
                hint=f"{hint}; or --loop, as root, which makes it on a loop device",
            )
        raise LayoutError(f"dibo cannot make the file system {kind!r}", hint=hint)
    if kind != "ext4" and process.find("mke2fs") is None:
        raise ToolMissing(f"mke2fs is not installed, and {kind} needs it", hint=how_to_install("mke2fs"))


def _others(layout: Layout | None) -> list[str]:
    """The file systems besides the root's that a loop device is needed for."""
    partitions = layout.partitions if layout is not None else ()
    return [
        each.filesystem.value for each in partitions if each.filesystem in BY_KERNEL and each.mount != ROOT
    ]


def way_of(partition: Partition, order: Order, *, directory: bool = True) -> Choice | None:
    """Who makes the file system of a partition. None where nothing is made."""
    is_root = order.layout is None or partition is order.layout.root
    return choose_way(
        partition, filesystem=root_type(order) if is_root else "", directory=directory, loop=order.loop
    )


def needs_directory(order: Order) -> bool:
    """Whether the root is wanted in a directory, besides its layers."""
    if order.layout is None:
        return root_type(order) != "ext4" and not order.loop
    choices = [way_of(partition, order) for partition in order.layout.partitions]
    return any(choice is not None and choice.needs_directory for choice in choices)


def by_the_way_that_works(order: Order, *, directory: bool, say: Callable[[str], None]) -> Order:
    """The same order, or one for a loop device where nothing less will do. Raises LoopError, and says why, where that
    would need root and nobody is it; ToolMissing."""
    if order.loop or order.layout is None or not any(each.takes is Takes.DISK for each in order.converters):
        return order
    for partition in order.layout.partitions:
        choice = way_of(partition, order, directory=directory)
        if choice is not None and choice.way is Way.LOOP:
            return on_a_loop_device(order, f"{partition.name}: {choice.reason}", say=say)
    return order


def on_a_loop_device(order: Order, why: str, *, say: Callable[[str], None]) -> Order:
    """The same order for a loop device, since nothing less will do. Raises LoopError, ToolMissing."""
    wanted = replace(order, loop=True)
    try:
        check_order(wanted)
    except LoopError as error:
        raise LoopError(f"the disk needs a loop device. {why}", hint=error.hint) from error
    say(f"a loop device is needed. {why}")
    return wanted


def root_type(order: Order) -> str:
    """FS_TYPE decides for a bare file system, and between those of the ext family on a disk."""
    wanted = order.layout.root.filesystem if order.layout is not None else None
    if wanted is None or (wanted is FileSystem.EXT4 and order.filesystem in TYPES):
        return order.filesystem
    return wanted.value

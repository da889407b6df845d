"""All of a disk, written to one target while the root is read: its file systems, and what makes it a disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dibo.boot.boot_files import BootFiles
from dibo.build.engine import Setup
from dibo.disk.boot_sectors import write_disk
from dibo.disk.by_programs import Programs
from dibo.disk.common import adapt_to, adapt_to_hooked, load_root, prepared_root, too_small
from dibo.disk.loop.fill import Filling
from dibo.disk.partitioned import write_boot
from dibo.disk.plan import DiskPlan
from dibo.disk.streamed import FileSystems, TooSmall
from dibo.errors import ConverterError
from dibo.formats import ext4
from dibo.formats.open_target import copy_raw
from dibo.formats.target import Target
from dibo.images.layers.load import Tree
from dibo.layout.placement import Placement
from dibo.system.profiling import trace as profiling
from dibo.system.report import Report
from dibo.tree.node import Contents, Node
from dibo.tree.sinks import choose
from dibo.units import SECTOR

if TYPE_CHECKING:
    from dibo.disk.device_hooks import HookedDisk


def write(
    plan: DiskPlan,
    placement: Placement,
    target: Target,
    others: Contents | None,
    setup: Setup,
    *,
    writers: Mapping[str, Filling] | None = None,
) -> Tree:
    """Read the root and write the disk; by `writers` the file systems that have one there. Raises NeedsLoop, and what
    dibo.disk.make.make_disks raises."""
    source = plan.source
    programs = Programs(plan, placement, setup)
    systems = FileSystems(target, placement, epoch=source.epoch, others=programs.places, writers=writers)
    tree = load_root(source, plan.request.limits, systems.places(others), setup.report)
    prepared = prepared_root(tree.root, plan.request, source, plan.hooked)
    if prepared.summary and source.prepared is None:
        setup.report.line(prepared.summary)
    for note in prepared.notes:
        setup.report.warn(note)
    everywhere: dict[Node, object] = {}
    if others is not None:
        choose(tree.root, 0, everywhere)
    try:
        with systems.mounted(tree.root) as mounted:
            if plan.hooked is not None:
                adapt_to_hooked(mounted, placement, systems.contents_of, plan, prepared)
            else:
                adapt_to(mounted, placement, systems.contents_of, plan.request, source, prepared)
            with profiling.span("file systems' tables"):
                systems.finish(mounted, prepared.boot)
            if systems.clamped_times:
                setup.report.warn(
                    f"{systems.clamped_times} files are from before 1901 or after 2446, which ext4 cannot say:"
                    " they get the nearest time that it can"
                )
            programs.fill(mounted, target)
    except TooSmall as error:
        raise too_small(error.partition, error.missing, tree, plan) from error
    except ext4.Ext4Error as error:
        raise ConverterError(
            f"{source.root.name} cannot be an ext4 file system: {error}",
            hint="change it in the image; -t tar makes an archive of it as it is",
        ) from error
    if others is not None:
        choose(tree.root, 1, everywhere)
    if plan.hooked is not None:
        _complete(plan.hooked, target, placement, prepared.boot, setup.report)
    elif plan.layout is not None:
        write_disk(target, placement=placement, boot=prepared.boot)
    return tree


def _complete(
    hooked: HookedDisk, target: Target, placement: Placement, boot: BootFiles, report: Report
) -> None:
    """Add the boot loader to the disk of the hooks; and what they wrote to it, unless it is that disk already."""
    with hooked.file.open("rb") as file:
        written = write_boot(target, hooked.disk, boot, placement=placement, sector=file.read(SECTOR))
        if hooked.device is None:
            ours = [(part.offset, part.size) for part in placement.partitions]
            copy_raw(file, target, without=[*written, *ours], on_bytes=report.progress)

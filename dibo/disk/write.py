"""All of a disk, written to one target while the root is read: its file systems, and what makes it a disk."""

from __future__ import annotations

from collections.abc import Mapping

from dibo.build.engine import Root
from dibo.disk.boot_files import BootFiles
from dibo.disk.boot_sectors import write_disk
from dibo.disk.by_programs import Programs
from dibo.disk.common import adapt_to, boot_files_of, load_root, too_small
from dibo.disk.device_hooks import HookedDisk
from dibo.disk.found import write_boot
from dibo.disk.loop.fill import Filling
from dibo.disk.request import Order
from dibo.disk.streamed import FileSystems, TooSmall
from dibo.errors import ConverterError
from dibo.formats import ext4
from dibo.formats.open_target import copy_raw
from dibo.formats.target import Target
from dibo.images.layers.load import Tree
from dibo.images.layers.spool import Spool
from dibo.layout.placement import Placement
from dibo.system.report import Report
from dibo.system.workspace import Run
from dibo.tree.node import Node
from dibo.tree.sinks import choose
from dibo.units import SECTOR


def write(
    root: Root,
    order: Order,
    placement: Placement,
    target: Target,
    spool: Spool | None,
    *,
    run: Run,
    report: Report,
    writers: Mapping[str, Filling] | None = None,
) -> Tree:
    """Read `root` and write the disk; by `writers` the file systems that have one there. Raises NeedsLoop, and what
    dibo.disk.make.make_disks raises."""
    programs = Programs(root, order, placement, run=run, report=report)
    systems = FileSystems(target, placement, epoch=order.epoch, others=programs.places, writers=writers)
    tree = load_root(root, order, systems.places(spool), report)
    prepared = boot_files_of(tree.root, order)
    everywhere: dict[Node, object] = {}
    if spool is not None:
        choose(tree.root, 0, everywhere)
    try:
        with systems.mounted(tree.root) as mounted:
            adapt_to(mounted, placement, systems.where, root, order, prepared)
            systems.finish(mounted, prepared.boot)
            programs.fill(mounted, target)
    except TooSmall as error:
        raise too_small(error.partition, error.missing, tree, order) from error
    except ext4.Ext4Error as error:
        raise ConverterError(
            f"{root.name} cannot be an ext4 file system: {error}",
            hint="change it in the image; -t tar makes an archive of it as it is",
        ) from error
    if spool is not None:
        choose(tree.root, 1, everywhere)
    if order.hooked is not None:
        _complete(order.hooked, target, placement, prepared.boot)
    elif order.layout is not None:
        write_disk(target, placement=placement, boot=prepared.boot)
    return tree


def _complete(hooked: HookedDisk, target: Target, placement: Placement, boot: BootFiles) -> None:
    """Add the boot loader to the disk of the hooks; and what they wrote to it, unless it is that disk already."""
    with hooked.file.open("rb") as file:
        written = write_boot(target, hooked.found, boot, placement=placement, sector=file.read(SECTOR))
        if hooked.device is None:
            ours = [(part.offset, part.size) for part in placement.partitions]
            copy_raw(file, target, without=[*written, *ours])

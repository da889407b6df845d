"""Disks by a loop device: what the kernel and the tools of this machine write (dibo.loop), and dibo the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dibo.build.engine import Root
from dibo.disk.boot_sectors import has_core
from dibo.disk.common import open_disk, placement_of
from dibo.disk.device_hooks import take_over
from dibo.disk.loop.make import by_kernel
from dibo.disk.request import BY_KERNEL, Order, root_type
from dibo.disk.write import write
from dibo.formats.open_target import copy_raw
from dibo.images.layers.load import Tree
from dibo.images.layers.spool import Spool
from dibo.layout.placement import Placement
from dibo.system.loop.device import LoopDevice
from dibo.system.report import Report
from dibo.system.workspace import Run
from dibo.units import human_size


def by_loop(
    root: Root,
    order: Order,
    fitting: Mapping[str, int],
    raw: Path | None,
    qcow2: Path | None,
    spool: Spool | None,
    *,
    run: Run,
    report: Report,
) -> Tree:
    """As dibo.disk.make.make_disks, whatever the way that would need fewer privileges."""
    placement = placement_of(order, fitting)
    path = raw or run.subdirectory("disk") / "disk.raw"
    hooked = order.hooked
    with report.task("disk") as task:
        if hooked is not None and hooked.device is not None:
            tree = _fill(hooked.device, root, order, placement, spool, run=run, report=report)
            hooked.release()
            take_over(hooked.file, path, lambda: open_disk(order, "raw", path))
        else:
            with open_disk(order, "raw", path):
                pass
            run.loop_device(path)
            with LoopDevice(path) as device:
                tree = _fill(device, root, order, placement, spool, run=run, report=report)
        if qcow2 is not None:
            with path.open("rb") as source, open_disk(order, "qcow2", qcow2) as disk:
                copy_raw(source, disk)
        task.note(f"{human_size(tree.bytes)} of files on {human_size(order.image_size)}, by a loop device")
    return tree


def _fill(
    device: LoopDevice,
    root: Root,
    order: Order,
    placement: Placement,
    spool: Spool | None,
    *,
    run: Run,
    report: Report,
) -> Tree:
    with by_kernel(
        device,
        [part for part in placement.partitions if part.wish.filesystem in BY_KERNEL],
        root_type=root_type(order),
        mapped=order.hooked.mapped if order.hooked is not None else None,
        epoch=order.epoch,
        top=run.subdirectory("root"),
    ) as kernel:
        tree = write(root, order, placement, device, spool, run=run, report=report, writers=kernel.writers)
        if _has_place_for_grub(order, placement):
            kernel.install_grub(tree.root, epoch=order.epoch, on_output=report.line)
    return tree


def _has_place_for_grub(order: Order, placement: Placement) -> bool:
    if order.hooked is not None:
        return order.hooked.found.core is not None
    return order.layout is not None and has_core(placement)

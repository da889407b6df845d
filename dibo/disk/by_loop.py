"""Disks by a loop device: what the kernel and the tools of this machine write (dibo.loop), and dibo the rest."""

from __future__ import annotations

from dibo.build.engine import Setup
from dibo.disk.boot_sectors import has_core
from dibo.disk.common import open_disk, placement_of
from dibo.disk.device_hooks import take_over
from dibo.disk.loop.make import by_kernel
from dibo.disk.plan import DiskPlan, DiskTargets
from dibo.disk.request import BY_KERNEL
from dibo.disk.write import write
from dibo.formats.open_target import copy_raw
from dibo.images.layers.load import Tree
from dibo.layout.placement import Placement
from dibo.system.loop.device import LoopDevice
from dibo.tree.node import Contents
from dibo.units import human_size


def by_loop(plan: DiskPlan, targets: DiskTargets, setup: Setup) -> Tree:
    """As dibo.disk.make.make_disks, whatever the way that would need fewer privileges."""
    placement = placement_of(plan)
    path = targets.disks.get("raw") or setup.run.subdirectory("disk") / "disk.raw"
    hooked = plan.hooked
    with setup.report.task("disk") as task:
        if hooked is not None and hooked.device is not None:
            tree = _fill(hooked.device, plan, placement, targets.others, setup)
            hooked.release()
            take_over(hooked.file, path, lambda: open_disk(plan, "raw", path), on_bytes=task.progress)
        else:
            with open_disk(plan, "raw", path):
                pass
            setup.run.loop_device(path)
            with LoopDevice(path, sector=placement.sector) as device:
                tree = _fill(device, plan, placement, targets.others, setup)
        for kind, copied in targets.disks.items():
            if kind != "raw":
                with path.open("rb") as source, open_disk(plan, kind, copied) as disk:
                    copy_raw(source, disk, on_bytes=task.progress)
        task.note(f"{human_size(tree.bytes)} of files on {human_size(plan.size)}, by a loop device")
    return tree


def _fill(
    device: LoopDevice, plan: DiskPlan, placement: Placement, others: Contents | None, setup: Setup
) -> Tree:
    epoch = plan.source.epoch
    with by_kernel(
        device,
        [part for part in placement.partitions if part.wish.filesystem in BY_KERNEL],
        root_type=plan.root_type,
        mapped=plan.hooked.mapped if plan.hooked is not None else None,
        epoch=epoch,
        top=setup.run.subdirectory("root"),
    ) as kernel:
        tree = write(plan, placement, device, others, setup, writers=kernel.writers)
        if _has_place_for_grub(plan, placement):
            kernel.install_grub(tree.root, epoch=epoch, on_output=setup.report.line)
    return tree


def _has_place_for_grub(plan: DiskPlan, placement: Placement) -> bool:
    if plan.hooked is not None:
        return plan.hooked.disk.core is not None
    return plan.layout is not None and has_core(placement)

"""Disks of a root, in one pass over its layers.

The size of a disk and the places of its partitions are known before the first byte of the root, so all file systems are
written while the root is read, each file to the one that it will be on. What depends on the whole tree (inode tables,
directories, the boot files on the other partitions) follows, and the partition table comes last: a disk without one is
not a disk yet.

Where a partition is to be as large as what is in it, that has to be known before: then the layers are read twice, the
first time for their sizes alone (dibo.disk.sizes). File systems that dibo has no writer for are made by programs, or on
a loop device (dibo.disk.filesystem_strategy).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dibo.build.engine import Setup
from dibo.disk.by_programs import NeedsLoop
from dibo.disk.common import load_root, placement_of, targets_of
from dibo.disk.plan import DiskPlan, DiskSource, DiskTargets
from dibo.disk.request import DiskRequest, decide_loop, require_loop
from dibo.disk.sizes import fits_something, fitted
from dibo.disk.write import write
from dibo.errors import LayoutError
from dibo.images.layers.load import Tree
from dibo.tree.sinks import Nowhere
from dibo.units import human_size

if TYPE_CHECKING:
    from dibo.disk.device_hooks import HookedDisk


def plan_disk(
    request: DiskRequest,
    source: DiskSource,
    setup: Setup,
    *,
    size: int | None = None,
    hooked: HookedDisk | None = None,
    loop: bool = False,
) -> DiskPlan:
    """Decide how the disk is made of that root. `size`, in bytes, comes before the request's; with `loop` a loop device
    is decided already. Raises LoopError, LayoutError, ToolMissing, and what reading layers raises."""
    if hooked is None and not loop:
        loop = decide_loop(request, directory=source.root.directory is not None, report=setup.report)
    size, set_by, fitting = size or request.size, request.size_set_by, {}
    if request.has_disk and hooked is None and fits_something(request):
        with setup.report.task("sizes") as task:
            fit = fitted(request, source, loop=loop, report=setup.report)
            fitting = dict(fit.partitions)
            if fit.disk is not None:
                size, set_by = fit.disk, "the layout" if request.layout is not None else "what is in it"
            task.note(f"a disk of {human_size(size)}")
    if size % request.unit:
        if hooked is not None:
            raise LayoutError(
                f"the disk of {hooked.hook} has {human_size(size)}, and the type needs a multiple of"
                f" {human_size(request.unit)}",
                hint="set the size of the disk: --image-size, IMAGE_SIZE",
            )
        size = -(-size // request.unit) * request.unit
        setup.report.say(
            f"the disk gets {human_size(size)}: its size must be a multiple of {human_size(request.unit)}"
        )
    return DiskPlan(
        request=request,
        source=source,
        hooked=hooked,
        size=size,
        size_set_by=set_by,
        fitting=fitting,
        loop=loop,
    )


def make_disks(plan: DiskPlan, targets: DiskTargets, setup: Setup) -> Tree:
    """Read the root, and write it to each place that is given. The tree, whose files speak of the other places.

    Raises ImageTooSmall, RootNotBootable, LayoutError, LoopError, OutputError, and what reading layers raises.
    """
    if not targets.disks:
        with setup.report.task("root") as task:
            tree = load_root(plan.source, plan.request.limits, targets.others or Nowhere(), setup.report)
            task.note(f"{human_size(tree.bytes)} in {tree.entries} files")
        return tree
    if not plan.loop:
        try:
            return _in_one_pass(plan, targets, setup)
        except NeedsLoop as error:
            require_loop(plan.request, str(error), setup.report)
            plan = replace(plan, loop=True)  # a second attempt
            targets.restart()
    from dibo.disk.by_loop import by_loop

    return by_loop(plan, targets, setup)


def _in_one_pass(plan: DiskPlan, targets: DiskTargets, setup: Setup) -> Tree:
    with setup.report.task("disk") as task, targets_of(plan, targets) as target:
        tree = write(plan, placement_of(plan), target, targets.others, setup)
        task.note(f"{human_size(tree.bytes)} of files on {human_size(plan.size)}")
    return tree

"""Disks of a root, in one pass over its layers.

The size of a disk and the places of its partitions are known before the first byte of the root, so all file systems are
written while the root is read, each file to the one that it will be on. What depends on the whole tree (inode tables,
directories, the boot files on the other partitions) follows, and the partition table comes last: a disk without one is
not a disk yet.

Where a partition is to be as large as what is in it, that has to be known before: then the layers are read twice, the
first time for their sizes alone (dibo.disk.sizes). File systems that dibo has no writer for are made by
programs, or on a
loop device (dibo.disk.filesystem_strategy).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dibo.build.engine import Root
from dibo.disk.by_programs import NeedsLoop
from dibo.disk.common import load_root, placement_of, targets_of
from dibo.disk.request import Order, by_the_way_that_works, on_a_loop_device
from dibo.disk.sizes import fits_something, fitted
from dibo.disk.write import write
from dibo.images.layers.load import Tree
from dibo.images.layers.spool import Spool
from dibo.system.report import Report
from dibo.system.workspace import Run
from dibo.tree.sinks import Nowhere
from dibo.units import human_size


def make_disks(
    root: Root,
    order: Order,
    *,
    raw: Path | None,
    qcow2: Path | None,
    spool: Spool | None,
    run: Run,
    report: Report,
) -> Tree:
    """Read `root`, and write it to each place that is given. The tree, whose files speak of `spool`.

    Raises ImageTooSmall, RootNotBootable, LayoutError, LoopError, OutputError, and what reading layers raises.
    """
    if raw is None and qcow2 is None:
        with report.task("root") as task:
            tree = load_root(root, order, spool or Nowhere(), report)
            task.note(f"{human_size(tree.bytes)} in {tree.entries} files")
        return tree
    order = by_the_way_that_works(order, directory=root.directory is not None, say=report.say)
    fitting: Mapping[str, int] = {}
    if fits_something(order):
        with report.task("sizes") as task:
            order, fitting = fitted(root, order, report)
            task.note(f"a disk of {human_size(order.image_size)}")
    if not order.loop:
        try:
            return _in_one_pass(root, order, fitting, raw, qcow2, spool, run=run, report=report)
        except NeedsLoop as error:
            order = on_a_loop_device(order, str(error), say=report.say)
    from dibo.disk.by_loop import by_loop

    return by_loop(root, order, fitting, raw, qcow2, spool, run=run, report=report)


def _in_one_pass(
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
    with report.task("disk") as task, targets_of(order, raw, qcow2) as target:
        placement = placement_of(order, fitting)
        tree = write(root, order, placement, target, spool, run=run, report=report)
        task.note(f"{human_size(tree.bytes)} of files on {human_size(order.image_size)}")
    return tree

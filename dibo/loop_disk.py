"""Disks by a loop device: what the kernel and the tools of this machine write (dibo.loop)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dibo.contents import Nowhere
from dibo.disk.image import write_disk
from dibo.disk.partition import ROOT, Content
from dibo.disk.target import Target
from dibo.disk.targets import copy_raw
from dibo.filesystems import FileSystems
from dibo.layers.load import Tree
from dibo.layers.spool import Spool
from dibo.loop.device import LoopDevice
from dibo.loop.make import Volume, Wish, fill
from dibo.making import adapt_to, boot_files_of, load_root, open_disk, placement_of
from dibo.mounts import Mounted
from dibo.node import Contents, Node
from dibo.order import BY_KERNEL, Order, root_type
from dibo.ports import Root
from dibo.report import Report
from dibo.units import human_size
from dibo.workspace import Run


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
) -> Node:
    """What the kernel and the tools of this machine write (dibo.loop)."""
    placement = placement_of(order, fitting)
    by_kernel = [part for part in placement.partitions if part.wish.filesystem in BY_KERNEL]

    def boot(target: Target, tree: Tree) -> bool:
        if order.layout is None:
            return False
        files = boot_files_of(tree.root, order)
        others = {part.wish.name: Nowhere() for part in by_kernel}
        FileSystems(target, placement, epoch=order.epoch, others=others).finish(None, files)
        write_disk(target, placement=placement, boot=files)
        return placement.holding(Content.GRUB_CORE) is not None

    @contextmanager
    def adapted(tree: Node, contents: Contents) -> Iterator[None]:
        with Mounted(tree, [], mtime=order.epoch) as mounted:
            adapt_to(mounted, placement, lambda _: contents, root, order)
            yield

    volumes = [
        Volume(
            kind=root_type(order) if part.wish.mount == ROOT else part.wish.filesystem.value,
            label=part.wish.label,
            ids=part.ids,
            mount=part.wish.mount,
            offset=part.offset,
            size=part.size,
            number=part.number,
        )
        for part in by_kernel
        if part.wish.filesystem is not None
    ]
    path = raw or run.subdirectory("disk") / "disk.raw"
    with report.task("disk") as task:
        with open_disk(order, "raw", path):
            pass
        run.loop_device(path)
        with LoopDevice(path) as device:
            tree = fill(
                device,
                Wish(
                    volumes=volumes,
                    boot=boot,
                    adapted=adapted,
                    epoch=order.epoch,
                    image_size=order.image_size,
                    size_set_by=order.size_set_by,
                ),
                load=lambda places: load_root(root, order, places, report),
                spool=spool,
                top=run.subdirectory("root"),
                report=report,
            )
        if qcow2 is not None:
            with path.open("rb") as source, open_disk(order, "qcow2", qcow2) as disk:
                copy_raw(source, disk)
        task.note(f"{human_size(tree.bytes)} of files on {human_size(order.image_size)}, by a loop device")
    return tree.root

"""Disks of a root, in one pass over its layers.

The size of a disk and the places of its partitions are known before the first byte of the root, so the root file
system is written while the root is read. What depends on the whole tree (inode tables, directories, the boot files on
the other partitions) follows, and the partition table comes last: a disk without one is not a disk yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from dibo import ext4
from dibo.contents import Nowhere, Several, choose
from dibo.disk.bootfiles import BootFiles
from dibo.disk.identity import identify
from dibo.disk.image import write_disk
from dibo.disk.partition import ROOT, Content
from dibo.disk.placement import Placement, place
from dibo.disk.target import Target
from dibo.disk.targets import copy_raw, open_target
from dibo.disk.tee import Tee
from dibo.errors import ConverterError, ImageTooSmall, LayoutError
from dibo.layers.load import Tree, load
from dibo.layers.spool import Spool
from dibo.mke2fs import FileSystemWish, check_fits, make_filesystem, measure
from dibo.node import Contents, Node
from dibo.order import BARE_LABEL, BY_KERNEL, Order, root_type
from dibo.ports import Root
from dibo.report import Report
from dibo.tree import KEPT, boot_files, require_bootable, tidy
from dibo.units import GIB, human_size
from dibo.workspace import Run


def make_disks(
    root: Root,
    order: Order,
    *,
    raw: Path | None,
    qcow2: Path | None,
    spool: Spool | None,
    run: Run,
    report: Report,
) -> Node:
    """Read `root` once, and write it to each place that is given. The tree, whose files speak of `spool`.

    Raises ImageTooSmall, RootNotBootable, LayoutError, OutputError, and what reading layers raises.
    """
    if raw is None and qcow2 is None:
        with report.task("root") as task:
            tree = _load(root, order, spool or Nowhere(), report)
            task.note(f"{human_size(tree.bytes)} in {tree.entries} files")
        return tree.root
    if order.loop:
        return _by_loop(root, order, raw, qcow2, spool, run=run, report=report)
    if root_type(order) == "ext4":
        with report.task("disk") as task, ExitStack() as stack:
            target = stack.enter_context(_targets(order, raw, qcow2))
            try:
                tree = _write_ext4(root, order, target, spool, report)
            except ext4.Ext4Error as error:
                raise ConverterError(
                    f"{root.name} cannot be an ext4 file system: {error}",
                    hint="change it in the image; -t tar makes an archive of it as it is",
                ) from error
            task.note(f"{human_size(tree.bytes)} of files on {human_size(order.image_size)}")
        return tree.root
    return _with_mke2fs(root, order, raw, qcow2, spool, run=run, report=report)


def _write_ext4(root: Root, order: Order, target: Target, spool: Spool | None, report: Report) -> Tree:
    placement = _placement(order)
    wish = _wish(placement, order)
    writer = ext4.Writer(
        target,
        ext4.Parameters(
            size=wish.size,
            offset=wish.offset,
            label=wish.label,
            uuid=wish.ids.filesystem_uuid,
            hash_seed=wish.ids.hash_seed,
            time=order.epoch,
        ),
    )
    places: Contents = writer if spool is None else Several(writer, spool)
    tree = _load(root, order, places, report)
    boot = _boot(tree.root, order)
    everywhere: dict[Node, object] = {}
    if spool is not None:
        choose(tree.root, 0, everywhere)
    try:
        writer.finish(tree.root)
    except ext4.NoSpace as error:
        raise _too_small(error.missing, tree, order) from error
    if spool is not None:
        choose(tree.root, 1, everywhere)
    if placement is not None:
        write_disk(target, placement=placement, boot=boot, mtime=order.epoch)
    return tree


def _with_mke2fs(
    root: Root,
    order: Order,
    raw: Path | None,
    qcow2: Path | None,
    spool: Spool | None,
    *,
    run: Run,
    report: Report,
) -> Node:
    """The elders of ext4: the tree is read for its size and its boot files, and the files by mke2fs itself."""
    if root.directory is None:
        raise LayoutError(
            f"{root_type(order)} is made from a directory, and {root.name} is not in one",
            hint="use ext4, or build with the engine buildah on this machine",
        )
    with report.task("disk") as task:
        tree = _load(root, order, spool or Nowhere(), report)
        usage = measure(tree.root)
        placement = _placement(order)
        wish = _wish(placement, order)
        check_fits(usage, wish, image_size=order.image_size, set_by=order.size_set_by)
        path = raw or run.subdirectory("disk") / "disk.raw"
        with _open(order, "raw", path) as target:
            if placement is not None:
                boot = _boot(tree.root, order)
                write_disk(target, placement=placement, boot=boot, mtime=order.epoch)
        with root.directory() as directory:
            make_filesystem(directory, path, wish=wish, usage=usage, epoch=order.epoch, on_line=report.line)
        if qcow2 is not None:
            with path.open("rb") as source, _open(order, "qcow2", qcow2) as disk:
                copy_raw(source, disk)
        task.note(f"{human_size(usage.bytes)} of files on {human_size(order.image_size)}")
    return tree.root


def _by_loop(
    root: Root,
    order: Order,
    raw: Path | None,
    qcow2: Path | None,
    spool: Spool | None,
    *,
    run: Run,
    report: Report,
) -> Node:
    """What the kernel and the tools of this machine write (dibo.loop)."""
    from dibo.loop.device import LoopDevice
    from dibo.loop.make import Volume, Wish, fill

    placement = _placement(order)
    wanted = _wish(placement, order)

    def boot(target: Target, tree: Tree) -> bool:
        if placement is None:
            return False
        write_disk(target, placement=placement, boot=_boot(tree.root, order), mtime=order.epoch)
        return placement.holding(Content.GRUB_CORE) is not None

    volumes = [
        Volume(
            kind=wanted.type,
            label=wanted.label,
            ids=wanted.ids,
            mount=ROOT,
            offset=wanted.offset,
            size=wanted.size,
            number=placement.root.number if placement is not None else 0,
        )
    ]
    for partition in placement.partitions if placement is not None else ():
        if partition.wish.filesystem in BY_KERNEL and partition.wish.mount != ROOT:
            volumes.append(
                Volume(
                    kind=partition.wish.filesystem.value,
                    label=partition.wish.label,
                    ids=partition.ids,
                    mount=partition.wish.mount,
                    offset=partition.offset,
                    size=partition.size,
                    number=partition.number,
                )
            )
    path = raw or run.subdirectory("disk") / "disk.raw"
    with report.task("disk") as task:
        with _open(order, "raw", path):
            pass
        run.loop_device(path)
        with LoopDevice(path) as device:
            tree = fill(
                device,
                Wish(
                    volumes=volumes,
                    boot=boot,
                    epoch=order.epoch,
                    image_size=order.image_size,
                    size_set_by=order.size_set_by,
                ),
                load=lambda places: _load(root, order, places, report),
                spool=spool,
                top=run.subdirectory("root"),
                report=report,
            )
        if qcow2 is not None:
            with path.open("rb") as source, _open(order, "qcow2", qcow2) as disk:
                copy_raw(source, disk)
        task.note(f"{human_size(tree.bytes)} of files on {human_size(order.image_size)}, by a loop device")
    return tree.root


@contextmanager
def _targets(order: Order, raw: Path | None, qcow2: Path | None) -> Iterator[Target]:
    """One target for all the disks that are wanted."""
    with ExitStack() as stack:
        targets: list[Target] = []
        for kind, path in (("raw", raw), ("qcow2", qcow2)):
            if path is not None:
                targets.append(stack.enter_context(_open(order, kind, path)))
        yield targets[0] if len(targets) == 1 else Tee(*targets)


def _open(order: Order, kind: str, path: Path) -> AbstractContextManager[Target]:
    return open_target(kind, path, order.image_size, order.options, name=order.path(kind))


def _load(root: Root, order: Order, places: Contents, report: Report) -> Tree:
    tree = load(
        root.layers,
        places,
        limits=order.limits,
        keep=KEPT,
        clamp=order.epoch if order.clamp else None,
        progress=lambda done: report.line(f"{human_size(done)} read"),
    )
    for warning in tree.warnings:
        report.warn(warning)
    if root.built:
        for content in tidy(tree.root):
            places.release(content)
    return tree


def _placement(order: Order) -> Placement | None:
    if order.layout is None:
        return None
    return place(
        order.layout, size=order.image_size, identity=order.identity, architecture=order.architecture
    )


def _wish(placement: Placement | None, order: Order) -> FileSystemWish:
    """Where the root file system goes; without a layout it is all of the disk."""
    if placement is None:
        ids = identify(order.identity, "root")
        return FileSystemWish(
            type=root_type(order), label=BARE_LABEL, offset=0, size=order.image_size, ids=ids
        )
    partition = placement.root
    return FileSystemWish(
        type=root_type(order),
        label=partition.wish.label,
        offset=partition.offset,
        size=partition.size,
        ids=partition.ids,
    )


def _boot(root: Node, order: Order) -> BootFiles:
    """The boot files, if the layout has a place for any."""
    layout = order.layout
    if layout is None or all(partition.content is None for partition in layout.partitions):
        return BootFiles(boot=None, core=None, esp={})
    require_bootable(root, architecture=order.architecture)
    return boot_files(root)


def _too_small(missing: int, tree: Tree, order: Order) -> ImageTooSmall:
    enough = math.ceil((order.image_size + missing * 1.02) * 10 / GIB)
    return ImageTooSmall(
        f"the root file system ({human_size(tree.bytes)} in {tree.entries} files) does not fit an image of "
        f"{human_size(order.image_size)}: {human_size(missing)} are missing",
        hint=f"{order.size_set_by} set the size; "
        f"--image-size {enough / 10:g} (or IMAGE_SIZE={enough / 10:g}) is enough",
        enough=enough * GIB // 10,
    )

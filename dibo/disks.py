"""Disks of a root, in one pass over its layers.

The size of a disk and the places of its partitions are known before the first byte of the root, so all file systems are
written while the root is read, each file to the one that it will be on. What depends on the whole tree (inode tables,
directories, the boot files on the other partitions) follows, and the partition table comes last: a disk without one is
not a disk yet.

Where a partition is to be as large as what is in it, that has to be known before: then the layers are read twice, the
first time for their sizes alone (dibo.fitting).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from dibo import ext4
from dibo.adapt import Where, adapt
from dibo.contents import Nowhere, choose
from dibo.disk.bootfiles import BootFiles
from dibo.disk.image import wants_boot_files, write_disk
from dibo.disk.partition import ROOT, Content, Partition, Sizing
from dibo.disk.placement import PlacedPartition, Placement, bare_placement, place, smallest_disk
from dibo.disk.target import Target
from dibo.disk.targets import copy_raw, open_target
from dibo.disk.tee import Tee
from dibo.errors import ConverterError, ImageTooSmall, LayoutError
from dibo.filesystems import FileSystems, TooSmall
from dibo.layers.load import Tree, load
from dibo.layers.spool import Spool
from dibo.mke2fs import FileSystemWish, check_fits, make_filesystem, measure
from dibo.mounts import Mounted
from dibo.node import Contents, Node
from dibo.order import BARE_LABEL, BY_KERNEL, Order, root_type
from dibo.ports import Root
from dibo.report import Report
from dibo.tree import KEPT, boot_files, require_bootable, tidy
from dibo.units import GIB, MIB, human_size
from dibo.ways import Way, choose_way
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
    """Read `root`, and write it to each place that is given. The tree, whose files speak of `spool`.

    Raises ImageTooSmall, RootNotBootable, LayoutError, OutputError, and what reading layers raises.
    """
    if raw is None and qcow2 is None:
        with report.task("root") as task:
            tree = _load(root, order, spool or Nowhere(), report)
            task.note(f"{human_size(tree.bytes)} in {tree.entries} files")
        return tree.root
    fitting: Mapping[str, int] = {}
    if _fits_something(order):
        with report.task("sizes") as task:
            order, fitting = _fitted(root, order, report)
            task.note(f"a disk of {human_size(order.image_size)}")
    if order.loop:
        return _by_loop(root, order, fitting, raw, qcow2, spool, run=run, report=report)
    making = _Making(root, order, fitting, spool, run, report)
    with report.task("disk") as task:
        tree = making.make(raw, qcow2)
        task.note(f"{human_size(tree.bytes)} of files on {human_size(order.image_size)}")
    return tree.root


def _by_loop(
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
    from dibo.loop.device import LoopDevice
    from dibo.loop.make import Volume, Wish, fill

    placement = _placement(order, fitting)
    by_kernel = [part for part in placement.partitions if part.wish.filesystem in BY_KERNEL]

    def boot(target: Target, tree: Tree) -> bool:
        if order.layout is None:
            return False
        files = _boot(tree.root, order)
        others = [part.wish.name for part in by_kernel]
        FileSystems(target, placement, epoch=order.epoch, others=others).finish(None, files)
        write_disk(target, placement=placement, boot=files)
        return placement.holding(Content.GRUB_CORE) is not None

    @contextmanager
    def adapted(tree: Node, contents: Contents) -> Iterator[None]:
        with Mounted(tree, [], mtime=order.epoch) as mounted:
            _adapt(mounted, placement, lambda _: contents, root, order)
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
        with _open(order, "raw", path):
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


class _Making:
    """One disk, in all the formats that are wanted."""

    def __init__(
        self,
        root: Root,
        order: Order,
        fitting: Mapping[str, int],
        spool: Spool | None,
        run: Run,
        report: Report,
    ) -> None:
        self._root = root
        self._order = order
        self._spool = spool
        self._run = run
        self._report = report
        self._placement = _placement(order, fitting)
        self._by_programs = [part for part in self._placement.partitions if _is_by_program(part, order)]

    def make(self, raw: Path | None, qcow2: Path | None) -> Tree:
        if not self._by_programs:
            with _targets(self._order, raw, qcow2) as target:
                return self._write(target)
        if self._root.directory is None:
            raise LayoutError(
                f"{root_type(self._order)} is made from a directory, and {self._root.name} is not in one",
                hint="use ext4, or build with the engine buildah on this machine",
            )
        path = raw or self._run.subdirectory("disk") / "disk.raw"
        with _open(self._order, "raw", path) as target:
            tree = self._write(target)
        self._fill(tree, path)
        if qcow2 is not None:
            with path.open("rb") as source, _open(self._order, "qcow2", qcow2) as disk:
                copy_raw(source, disk)
        return tree

    def _write(self, target: Target) -> Tree:
        """All that dibo writes itself."""
        order = self._order
        systems = FileSystems(
            target,
            self._placement,
            epoch=order.epoch,
            others=[part.wish.name for part in self._by_programs],
        )
        tree = _load(self._root, order, systems.places(self._spool), self._report)
        boot = _boot(tree.root, order)
        everywhere: dict[Node, object] = {}
        if self._spool is not None:
            choose(tree.root, 0, everywhere)
        try:
            with systems.mounted(tree.root) as mounted:
                _adapt(mounted, self._placement, systems.where, self._root, order)
                systems.finish(mounted, boot)
        except TooSmall as error:
            raise _too_small(error.partition, error.missing, tree, order) from error
        except ext4.Ext4Error as error:
            raise ConverterError(
                f"{self._root.name} cannot be an ext4 file system: {error}",
                hint="change it in the image; -t tar makes an archive of it as it is",
            ) from error
        if self._spool is not None:
            choose(tree.root, 1, everywhere)
        if order.layout is not None:
            write_disk(target, placement=self._placement, boot=boot)
        return tree

    def _fill(self, tree: Tree, path: Path) -> None:
        """What programs make, from the root in a directory."""
        order = self._order
        assert self._root.directory is not None
        usage = measure(tree.root)
        for part in self._by_programs:
            wish = FileSystemWish(
                type=root_type(order),
                label=part.wish.label,
                offset=part.offset,
                size=part.size,
                ids=part.ids,
            )
            check_fits(usage, wish, image_size=order.image_size, set_by=order.size_set_by)
            with self._root.directory() as directory:
                make_filesystem(
                    directory, path, wish=wish, usage=usage, epoch=order.epoch, on_line=self._report.line
                )


def _is_by_program(part: PlacedPartition, order: Order) -> bool:
    choice = choose_way(part.wish, filesystem=root_type(order) if _is_root(part.wish, order) else "")
    return choice is not None and choice.way is not Way.OWN


def _is_root(wish: Partition, order: Order) -> bool:
    return order.layout is None or wish is order.layout.root


def _adapt(mounted: Mounted, placement: Placement, where: Where, root: Root, order: Order) -> None:
    """Of a root that dibo did not build, fstab stays as it is unless somebody laid out the disk."""
    if order.layout is not None:
        adapt(
            mounted,
            placement,
            where,
            root_type=root_type(order),
            with_fstab=root.built or order.layout_given,
            epoch=order.epoch,
        )


# Sizes that follow from what is stored


class _Void:
    """A Target that nothing is written to."""

    def write(self, offset: int, buffers: object) -> None:
        pass

    def discard(self, offset: int, size: int) -> None:
        pass


def _fits(wish: Partition, order: Order) -> bool:
    assert order.layout is not None
    return wish.size is Sizing.FIT or (wish.size is Sizing.REST and order.layout.size is Sizing.FIT)


def _fits_something(order: Order) -> bool:
    return order.layout is not None and any(_fits(wish, order) for wish in order.layout.partitions)


def _fitted(root: Root, order: Order, report: Report) -> tuple[Order, Mapping[str, int]]:
    """The bytes of each partition that fits, by name; and the order, with the size of the disk."""
    assert order.layout is not None
    guess = smallest_disk(order.layout, {}) + 64 * MIB * len(order.layout.partitions)
    fixed = replace(order, image_size=guess)
    placement = place(
        order.layout,
        size=guess,
        identity=order.identity,
        architecture=order.architecture,
        fitting={wish.name: 32 * MIB for wish in order.layout.partitions},
    )
    others = [part.wish.name for part in placement.partitions if _is_by_program(part, order)]
    systems = FileSystems(_Void(), placement, epoch=order.epoch, others=others)
    tree = _load(root, fixed, systems.places(None), report)
    boot = _boot(tree.root, order)
    with systems.mounted(tree.root) as mounted:
        _adapt(mounted, placement, systems.where, root, order)
        fitting = {
            part.wish.name: systems.measure(part, mounted, boot)
            for part in placement.partitions
            if _fits(part.wish, order)
        }
    if order.layout.size is Sizing.FIT:
        order = replace(order, image_size=smallest_disk(order.layout, fitting), size_set_by="the layout")
    return order, fitting


def _placement(order: Order, fitting: Mapping[str, int]) -> Placement:
    if order.layout is None:
        return bare_placement(order.image_size, identity=order.identity, label=BARE_LABEL)
    return place(
        order.layout,
        size=order.image_size,
        identity=order.identity,
        architecture=order.architecture,
        fitting=fitting,
    )


# Places


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


def _boot(root: Node, order: Order) -> BootFiles:
    """The boot files, if the layout has a place for any."""
    if order.layout is None or not wants_boot_files(order.layout):
        return BootFiles(boot=None, core=None, esp={})
    require_bootable(root, architecture=order.architecture)
    return boot_files(root)


def _too_small(part: PlacedPartition, missing: int, tree: Tree, order: Order) -> ImageTooSmall:
    if order.layout is not None and part.wish.size is not Sizing.REST:
        return ImageTooSmall(
            f"what belongs to {part.wish.mount or part.wish.name} does not fit the partition {part.wish.name} of"
            f" {human_size(part.size)}: {human_size(missing)} are missing",
            hint="give it more in the layout, or write size: fit",
        )
    enough = math.ceil((order.image_size + missing * 1.02) * 10 / GIB)
    return ImageTooSmall(
        f"the root file system ({human_size(tree.bytes)} in {tree.entries} files) does not fit an image of "
        f"{human_size(order.image_size)}: {human_size(missing)} are missing",
        hint=f"{order.size_set_by} set the size; "
        f"--image-size {enough / 10:g} (or IMAGE_SIZE={enough / 10:g}) is enough",
        enough=enough * GIB // 10,
    )

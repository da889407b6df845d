"""What all ways to a disk of a root have in common: reading the root, where things go, what is said when it is full."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from dibo.build.engine import Root
from dibo.disk.adapt import Where, adapt, install
from dibo.disk.boot_files import MANIFEST, BootFiles
from dibo.disk.boot_sectors import wants_boot_files
from dibo.disk.bootable import KEPT_FILES, read_boot_files, require_bootable
from dibo.disk.found import placement as found_placement
from dibo.disk.prepare_root import GRUB_FILES, BootTemplates, PreparedRoot, prepare
from dibo.disk.request import BARE_LABEL, Order, root_type
from dibo.errors import ImageTooSmall
from dibo.formats.open_target import open_target
from dibo.formats.target import Target
from dibo.formats.tee import Tee
from dibo.images.layers.change_digest import Ledger
from dibo.images.layers.load import Tree, load
from dibo.layout.model import Sizing
from dibo.layout.placement import PlacedPartition, Placement, bare_placement, place
from dibo.system import resources
from dibo.system.report import Report
from dibo.tree.mounts import Mounted
from dibo.tree.node import Contents, Node
from dibo.tree.query import find, tidy
from dibo.units import GIB, human_size


def placement_of(order: Order, fitting: Mapping[str, int]) -> Placement:
    """`fitting`: bytes of the partitions that fit, by name."""
    if order.hooked is not None:
        return found_placement(order.hooked.found, identity=order.identity, label=BARE_LABEL)
    if order.layout is None:
        return bare_placement(order.image_size, identity=order.identity, label=BARE_LABEL)
    return place(
        order.layout,
        size=order.image_size,
        identity=order.identity,
        architecture=order.architecture,
        fitting=fitting,
    )


@contextmanager
def targets_of(order: Order, raw: Path | None, qcow2: Path | None) -> Iterator[Target]:
    """One target for all the disks that are wanted."""
    with ExitStack() as stack:
        targets: list[Target] = []
        for kind, path in (("raw", raw), ("qcow2", qcow2)):
            if path is not None:
                targets.append(stack.enter_context(open_disk(order, kind, path)))
        yield targets[0] if len(targets) == 1 else Tee(*targets)


def open_disk(order: Order, kind: str, path: Path) -> AbstractContextManager[Target]:
    return open_target(kind, path, order.image_size, order.options, name=order.path(kind))


def load_root(root: Root, order: Order, places: Contents, report: Report) -> Tree:
    """Read the root, the bytes of its files to `places`; what engines leave in one that dibo built is taken out. The
    tree has the digests of its layers where a manifest is wanted."""
    ledger = Ledger(built=True) if root.built and order.about is not None else None
    tree = load(
        root.layers,
        places,
        limits=order.limits,
        keep=KEPT_FILES if root.built else (*KEPT_FILES, *GRUB_FILES),
        clamp=order.epoch if order.clamp else None,
        progress=lambda done: report.line(f"{human_size(done)} read"),
        ledger=ledger,
    )
    for warning in tree.warnings:
        report.warn(warning)
    if root.built:
        for content in tidy(tree.root):
            places.release(content)
    return tree if ledger is None else replace(tree, digests=tuple(ledger.digests))


def boot_files_of(tree: Node, order: Order) -> PreparedRoot:
    """The boot files, if the disk has a place for any: those that the root brings along, else made of what it has."""
    if order.hooked is not None:
        if not order.hooked.found.is_to_boot and find(tree, str(MANIFEST)) is None:
            return PreparedRoot(boot=BootFiles())
    elif order.layout is None or not wants_boot_files(order.layout):
        return PreparedRoot(boot=BootFiles())
    if find(tree, str(MANIFEST)) is not None:
        return PreparedRoot(boot=read_boot_files(tree))
    require_bootable(tree, architecture=order.architecture)
    return prepare(tree, boot_templates(), architecture=order.architecture, options=order.options)


def boot_templates() -> BootTemplates:
    """What dibo has for roots that nobody prepared."""
    directory = resources.shared("flavours") / "boot-files" / "files"
    unit = resources.shared("containerfiles") / "runner" / "first-boot" / "dibo-ssh-host-keys.service"
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    return BootTemplates(files=files, host_keys_unit=unit.read_bytes())


def adapt_to(
    mounted: Mounted, placement: Placement, where: Where, root: Root, order: Order, prepared: PreparedRoot
) -> None:
    """Put what was prepared into the tree, then make fstab and menu fit.

    Of a root that dibo did not build, fstab stays as it is unless somebody laid out the disk; on a disk that a hook
    laid out, it is that of the flavours."""
    install(mounted, prepared, where, epoch=order.epoch)
    if order.layout is None and order.hooked is None:
        return
    adapt(
        mounted,
        placement,
        where,
        root_type=root_type(order),
        with_fstab=order.layout is not None and (root.built or order.layout_given or bool(prepared.files)),
        epoch=order.epoch,
    )


def too_small(part: PlacedPartition, missing: int, tree: Tree, order: Order) -> ImageTooSmall:
    if order.layout is not None and part.wish.size is not Sizing.REST:
        return ImageTooSmall(
            f"what belongs to {part.wish.mount or part.wish.name} does not fit the partition {part.wish.name} of"
            f" {human_size(part.size)}: {human_size(missing)} are missing",
            hint="give it more in the layout, or write size: fit",
        )
    if order.hooked is not None:
        return ImageTooSmall(
            f"the root file system ({human_size(tree.bytes)} in {tree.entries} files) does not fit the "
            f"{human_size(part.size)} that {order.hooked.hook} has for it: {human_size(missing)} are missing",
            hint="make the partition larger in the hook, or the disk (--image-size, IMAGE_SIZE) if it takes the rest",
        )
    enough = math.ceil((order.image_size + missing * 1.02) * 10 / GIB)
    return ImageTooSmall(
        f"the root file system ({human_size(tree.bytes)} in {tree.entries} files) does not fit an image of "
        f"{human_size(order.image_size)}: {human_size(missing)} are missing",
        hint=f"{order.size_set_by} set the size; "
        f"--image-size {enough / 10:g} (or IMAGE_SIZE={enough / 10:g}) is enough",
        enough=enough * GIB // 10,
    )

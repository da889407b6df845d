"""What all ways to a disk of a root have in common: reading the root, where things go, what is said when it is full."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dibo.boot.boot_files import MANIFEST, BootFiles
from dibo.boot.bootable import read_boot_files
from dibo.boot.keep import GRUB_FILES, is_text
from dibo.boot.prepared import PreparedRoot
from dibo.disk.adapt import ContentsOf, adapt, install
from dibo.disk.boot_sectors import wants_boot_files
from dibo.disk.partitioned import placement as found_placement
from dibo.disk.plan import DiskPlan, DiskSource, DiskTargets
from dibo.disk.request import DiskRequest
from dibo.disk.step_outputs import LIMIT, PLACE, take_outputs
from dibo.errors import ImageTooSmall
from dibo.formats.open_target import open_target
from dibo.formats.target import Target
from dibo.formats.tee import Tee
from dibo.images.byte_count import total_size
from dibo.images.layers.change_digest import Ledger
from dibo.images.layers.limits import Limits
from dibo.images.layers.load import LoadOptions, Tree, load
from dibo.kits.attach import KEPT_FILES as KIT_FILES
from dibo.layout.model import Sizing
from dibo.layout.placement import PlacedPartition, Placement, bare_placement, place
from dibo.settings.values import enough_hint
from dibo.system.report import Report
from dibo.tree.mounts import Mounted
from dibo.tree.node import Contents, Node
from dibo.tree.query import find, tidy
from dibo.units import GIB, human_size

if TYPE_CHECKING:
    from dibo.disk.device_hooks import HookedDisk


def placement_of(plan: DiskPlan) -> Placement:
    identity = plan.source.identity
    if plan.hooked is not None:
        return found_placement(plan.hooked.disk, identity=identity, label=plan.request.bare_label)
    if plan.layout is None:
        return bare_placement(plan.size, identity=identity, label=plan.request.bare_label)
    return place(
        plan.layout,
        size=plan.size,
        identity=identity,
        architecture=plan.request.architecture,
        fitting=plan.fitting,
    )


@contextmanager
def targets_of(plan: DiskPlan, targets: DiskTargets) -> Iterator[Target]:
    """One target for all requested disks."""
    with ExitStack() as stack:
        opened: list[Target] = []
        for kind, path in targets.disks.items():
            opened.append(stack.enter_context(open_disk(plan, kind, path)))
        yield opened[0] if len(opened) == 1 else Tee(*opened)


def open_disk(plan: DiskPlan, kind: str, path: Path) -> AbstractContextManager[Target]:
    request = plan.request
    return open_target(
        kind, path, plan.size, request.options, name=request.path(kind), identity=plan.source.image_identity
    )


def load_root(source: DiskSource, limits: Limits, places: Contents, report: Report) -> Tree:
    """Read the root, the bytes of its files to `places`; what engines leave in one that dibo built is taken out. The
    tree has the digests of its layers if a manifest is requested."""
    root = source.root
    total = total_size([layer.size for layer in root.layers])
    ledger = Ledger(built=True) if root.built and source.manifest is not None else None
    tree = load(
        root.layers,
        places,
        LoadOptions(
            limits=replace(limits, kept_bytes=max(limits.kept_bytes, LIMIT)) if root.built else limits,
            keep=lambda path: is_text(path) or path.startswith((*GRUB_FILES, *KIT_FILES, PLACE + b"/")),
            clamp=source.epoch if source.clamp else None,
            progress=lambda done: report.progress(done, total),
            ledger=ledger,
        ),
    )
    for warning in tree.warnings:
        report.warn(warning)
    if root.built:
        beside = take_outputs(tree.root)
        tree = replace(tree, beside=beside.files)
        for content in (*tidy(tree.root), *beside.contents):
            places.release(content)
    return tree if ledger is None else replace(tree, digests=tuple(ledger.digests))


def prepared_root(
    tree: Node, request: DiskRequest, source: DiskSource, hooked: HookedDisk | None
) -> PreparedRoot:
    """The boot files, and with a kit the application."""
    prepared = boot_files_of(tree, request, source, hooked)
    return prepared if source.attachment is None else source.attachment.settle(tree, prepared)


def boot_files_of(
    tree: Node, request: DiskRequest, source: DiskSource, hooked: HookedDisk | None
) -> PreparedRoot:
    """The boot files, if the disk has a place for any: those that were made before (dibo.disk.survey), those that the
    root brings along, else made of what it has."""
    is_prepared = find(tree, str(MANIFEST)) is not None
    if hooked is not None:
        if not hooked.disk.is_to_boot and not is_prepared:
            return PreparedRoot(boot=BootFiles())
    elif request.layout is None or not wants_boot_files(request.layout):
        return PreparedRoot(boot=BootFiles())
    if source.prepared is not None:
        return source.prepared
    if is_prepared:
        return PreparedRoot(boot=read_boot_files(tree))
    from dibo.disk.boot_preparation import made_boot_files

    return made_boot_files(tree, request, source)


def needs_boot_files(request: DiskRequest) -> bool:
    """Whether a disk is requested that has a place for them."""
    return request.has_disk and request.layout is not None and wants_boot_files(request.layout)


def adapt_to(
    mounted: Mounted,
    placement: Placement,
    contents_of: ContentsOf,
    request: DiskRequest,
    source: DiskSource,
    prepared: PreparedRoot,
) -> None:
    """Put what was prepared into the tree, then have fstab and GRUB's menu speak of a disk with the layout of
    `request`. Of a root that dibo did not build, fstab stays as it is unless a layout was given."""
    install(mounted, prepared, contents_of, epoch=source.epoch)
    if request.layout is not None:
        adapt(
            mounted,
            placement,
            contents_of,
            root_type=request.root_type,
            with_fstab=source.attachment is None
            and (source.root.built or request.layout_given or bool(prepared.files)),
            epoch=source.epoch,
        )


def adapt_to_hooked(
    mounted: Mounted, placement: Placement, contents_of: ContentsOf, plan: DiskPlan, prepared: PreparedRoot
) -> None:
    """On a disk that a hook laid out, fstab is that of the flavours."""
    install(mounted, prepared, contents_of, epoch=plan.source.epoch)
    adapt(
        mounted, placement, contents_of, root_type=plan.root_type, with_fstab=False, epoch=plan.source.epoch
    )


def too_small(part: PlacedPartition, missing: int, tree: Tree, plan: DiskPlan) -> ImageTooSmall:
    if plan.layout is not None and part.wish.size is not Sizing.REST:
        return ImageTooSmall(
            f"what belongs to {part.wish.mount or part.wish.name} does not fit the partition {part.wish.name} of"
            f" {human_size(part.size)}: {human_size(missing)} are missing",
            hint="give it more in the layout, or write size: fit",
        )
    if plan.hooked is not None:
        return ImageTooSmall(
            f"the root file system ({human_size(tree.bytes)} in {tree.entries} files) does not fit the "
            f"{human_size(part.size)} that {plan.hooked.hook} has for it: {human_size(missing)} are missing",
            hint="make the partition larger in the hook, or the disk (--image-size, IMAGE_SIZE) if it takes the rest",
        )
    enough = math.ceil((plan.size + missing * 1.02) * 10 / GIB)
    return ImageTooSmall(
        f"the root file system ({human_size(tree.bytes)} in {tree.entries} files) does not fit an image of "
        f"{human_size(plan.size)}: {human_size(missing)} are missing",
        hint=enough_hint(plan.size_set_by, enough / 10),
        enough=enough * GIB // 10,
    )

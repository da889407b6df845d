"""Sizes that follow from what is stored: the layers are read once for them, into writers that write nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from dibo.disk.common import adapt_to, load_root, prepared_root
from dibo.disk.filesystem_strategy import Choice, Way
from dibo.disk.plan import DiskSource
from dibo.disk.programs.mke2fs import Usage, measure, smallest
from dibo.disk.programs.mkfs import LEAST
from dibo.disk.request import DiskRequest, choice_of
from dibo.disk.streamed import FileSystems
from dibo.formats.ext4.layout import BLOCK
from dibo.layout.model import DEFAULT_HEADROOM, ROOT, FileSystemType, Layout, Partition, Sizing
from dibo.layout.placement import PlacedPartition, Placement, bare_placement, place, smallest_disk
from dibo.system.report import Report
from dibo.tree.mounts import Mounted
from dibo.tree.node import Contents, Node
from dibo.tree.sinks import Nowhere
from dibo.units import MIB

_TAKEN: Final = {"xfs": (96 * MIB, 1024), "btrfs": (160 * MIB, 4096)}
"""Bytes of log and metadata, and of each inode: btrfs keeps metadata twice."""


class _Void:
    """A Target that nothing is written to."""

    def write(self, offset: int, buffers: object) -> None:
        pass

    def discard(self, offset: int, size: int) -> None:
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Bytes: of each partition that fits, by name; and of the disk, where that fits too."""

    partitions: Mapping[str, int]
    disk: int | None


def _fits(wish: Partition, layout: Layout) -> bool:
    return wish.size is Sizing.FIT or (wish.size is Sizing.REST and layout.size is Sizing.FIT)


def fits_something(request: DiskRequest) -> bool:
    layout = request.layout
    if layout is None:
        return request.bare_headroom is not None
    return any(_fits(wish, layout) for wish in layout.partitions)


def fitted(request: DiskRequest, source: DiskSource, *, loop: bool, report: Report) -> Fit:
    """What the parts of a disk must have at least for that root."""
    layout = request.layout
    placement = _roomy_placement(request, source)
    directory = source.root.directory is not None
    others: dict[str, Contents] = {
        part.wish.name: Nowhere()
        for part in placement.partitions
        if not _is_own(choice_of(part.wish, layout, request, directory=directory, loop=loop))
    }
    systems = FileSystems(_Void(), placement, epoch=source.epoch, others=others)
    tree = load_root(source, request.limits, systems.places(None), report)
    prepared = prepared_root(tree.root, request, source, None)
    with systems.mounted(tree.root) as mounted:
        adapt_to(mounted, placement, systems.contents_of, request, source, prepared)
        fitting = {
            part.wish.name: systems.measure(part, mounted, prepared.boot)
            if part.wish.name not in others
            else _estimate(part, mounted, request.root_type)
            for part in placement.partitions
            if layout is None or _fits(part.wish, layout)
        }
    if layout is None:
        return Fit(partitions={}, disk=-(-sum(fitting.values()) // MIB) * MIB)
    disk = smallest_disk(layout, fitting) if layout.size is Sizing.FIT else None
    return Fit(partitions=fitting, disk=disk)


def _roomy_placement(request: DiskRequest, source: DiskSource) -> Placement:
    """Places for what is measured, whatever their sizes."""
    layout = request.layout
    if layout is None:
        bare = bare_placement(64 * MIB, identity=source.identity, label=request.bare_label)
        (root,) = bare.partitions
        wish = replace(root.wish, headroom=request.bare_headroom)
        return replace(bare, partitions=(replace(root, wish=wish),))
    return place(
        layout,
        size=smallest_disk(layout, {}) + 64 * MIB * len(layout.partitions),
        identity=source.identity,
        architecture=request.architecture,
        fitting={wish.name: 32 * MIB for wish in layout.partitions},
    )


def _is_own(choice: Choice | None) -> bool:
    return choice is None or choice.way is Way.OWN


def _estimate(part: PlacedPartition, mounted: Mounted, root_type: str) -> int:
    """The space of a file system that another program makes: not known exactly, so a little more than measured."""
    top = mounted.tops[part.wish.mount] if part.wish.mount is not None else Node(0o040755)
    usage = measure(top)
    free = (part.wish.headroom or DEFAULT_HEADROOM).of(usage.bytes)
    if part.wish.filesystem is FileSystemType.EXT4:
        kind = root_type if part.wish.mount == ROOT else "ext4"
        more = Usage(inodes=usage.inodes, blocks=usage.blocks + -(-free // BLOCK))
        return smallest(more, type=kind)
    kind = part.wish.filesystem.value if part.wish.filesystem else ""
    fixed, inode_size = _TAKEN[kind]
    return max(LEAST[kind], ceil((usage.bytes * 1.05 + usage.inodes * inode_size + fixed + free) / MIB) * MIB)

"""Sizes that follow from what is stored: the layers are read once for them, into writers that write nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Final

from dibo.build.engine import Root
from dibo.disk.common import adapt_to, boot_files_of, load_root
from dibo.disk.filesystem_strategy import Way
from dibo.disk.mke2fs import BLOCK, Usage, measure, smallest
from dibo.disk.mkfs import LEAST
from dibo.disk.request import Order, root_type, way_of
from dibo.disk.streamed import FileSystems
from dibo.layout.model import DEFAULT_HEADROOM, ROOT, FileSystem, Partition, Sizing
from dibo.layout.placement import PlacedPartition, place, smallest_disk
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


def _fits(wish: Partition, order: Order) -> bool:
    assert order.layout is not None
    return wish.size is Sizing.FIT or (wish.size is Sizing.REST and order.layout.size is Sizing.FIT)


def fits_something(order: Order) -> bool:
    return order.layout is not None and any(_fits(wish, order) for wish in order.layout.partitions)


def fitted(root: Root, order: Order, report: Report) -> tuple[Order, Mapping[str, int]]:
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
    others: dict[str, Contents] = {
        part.wish.name: Nowhere() for part in placement.partitions if not _is_own(part.wish, order)
    }
    systems = FileSystems(_Void(), placement, epoch=order.epoch, others=others)
    tree = load_root(root, fixed, systems.places(None), report)
    prepared = boot_files_of(tree.root, order)
    with systems.mounted(tree.root) as mounted:
        adapt_to(mounted, placement, systems.where, root, order, prepared)
        fitting = {
            part.wish.name: systems.measure(part, mounted, prepared.boot)
            if part.wish.name not in others
            else _estimate(part, mounted, order)
            for part in placement.partitions
            if _fits(part.wish, order)
        }
    if order.layout.size is Sizing.FIT:
        order = replace(order, image_size=smallest_disk(order.layout, fitting), size_set_by="the layout")
    return order, fitting


def _is_own(wish: Partition, order: Order) -> bool:
    choice = way_of(wish, order)
    return choice is None or choice.way is Way.OWN


def _estimate(part: PlacedPartition, mounted: Mounted, order: Order) -> int:
    """Of what others make, nobody can say exactly what it takes: a little more than was ever seen."""
    top = mounted.tops[part.wish.mount] if part.wish.mount is not None else Node(0o040755)
    usage = measure(top)
    free = (part.wish.headroom or DEFAULT_HEADROOM).of(usage.bytes)
    if part.wish.filesystem is FileSystem.EXT4:
        kind = root_type(order) if part.wish.mount == ROOT else "ext4"
        more = Usage(inodes=usage.inodes, blocks=usage.blocks + -(-free // BLOCK))
        return smallest(more, type=kind)
    kind = part.wish.filesystem.value if part.wish.filesystem else ""
    fixed, each = _TAKEN[kind]
    return max(LEAST[kind], ceil((usage.bytes * 1.05 + usage.inodes * each + fixed + free) / MIB) * MIB)

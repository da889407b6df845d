"""Partitions that are as large as what is in them: for any tree, all of it fits, and not much is left over."""

from __future__ import annotations

import stat

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dibo.boot.boot_files import BootFiles
from dibo.disk.fat_writer import FatWriter
from dibo.disk.streamed import FileSystems
from dibo.layout.merge import parse_layout
from dibo.layout.placement import Placement, place
from dibo.tree.node import Contents, Node
from dibo.tree.sinks import Nowhere
from dibo.units import GIB, MIB
from tests.support.disks.memory_disk import SECOND, Disk
from tests.support.readers.ext4_check import Checker

NAME = st.text("abcdefghijklmnop0123456789", min_size=1, max_size=40)
SIZE = st.sampled_from([0, 1, 4095, 4096, 5000, 70_000, 400_000])
TREE = st.recursive(SIZE, lambda below: st.dictionaries(NAME, below, max_size=12), max_leaves=60).filter(
    lambda tree: isinstance(tree, dict)
)


def build(contents: Contents, tree: object, *, holes: bool) -> Node:
    if isinstance(tree, int):
        node = Node(stat.S_IFREG | 0o644, mtime=SECOND)
        node.size = tree
        if tree:
            node.content = contents.begin(tree)
            hole = tree // 2 if holes else 0
            if hole:
                contents.skip(hole)
            contents.write(b"x" * (tree - hole))
        return node
    node = Node(stat.S_IFDIR | 0o755, mtime=SECOND)
    assert isinstance(tree, dict)
    node.children = {name.encode(): build(contents, below, holes=holes) for name, below in tree.items()}
    return node


def placed(kind: str, size: int) -> Placement:
    data = {
        "name": "data",
        "type": "linux",
        "size": "fit",
        "headroom": "0%",
        "filesystem": kind,
        "mount": "/data",
    }
    root = {"name": "root", "type": "linux", "size": "rest", "filesystem": "ext4", "mount": "/"}
    layout = parse_layout({"table": "gpt", "partitions": [data, root]}, origin="test")
    return place(layout, size=GIB, identity="x", architecture="amd64", fitting={"data": size})


class Void:
    def write(self, offset: int, buffers: object) -> None:
        pass

    def discard(self, offset: int, size: int) -> None:
        pass


def measured(kind: str, tree: object, *, holes: bool) -> int:
    placement = placed(kind, 64 * MIB)
    systems = FileSystems(Void(), placement, epoch=1, others={"root": Nowhere()})
    root = Node(stat.S_IFDIR | 0o755)
    assert root.children is not None
    root.children[b"data"] = build(systems.writers["data"], tree, holes=holes)
    with systems.mounted(root) as mounted:
        return systems.measure(placement.named("data"), mounted, BootFiles())


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(TREE, st.sampled_from(["ext4", "vfat"]), st.booleans())
def test_what_was_measured_is_enough_and_hardly_more(tree: object, kind: str, holes: bool) -> None:
    size = measured(kind, tree, holes=holes)
    placement = placed(kind, size)
    disk = Disk(GIB)
    systems = FileSystems(disk, placement, epoch=1, others={"root": Nowhere()})
    root = Node(stat.S_IFDIR | 0o755)
    assert root.children is not None
    writer = systems.writers["data"]
    root.children[b"data"] = build(writer, tree, holes=holes)
    with systems.mounted(root) as mounted:
        systems.finish(mounted, BootFiles())  # raises where it does not fit
    if not isinstance(writer, FatWriter):
        part = placement.named("data")
        Checker(disk.read, part.offset).check()
        assert size < max(MIB, stored(tree, holes=holes) * 1.2) + 8 * MIB


def stored(tree: object, *, holes: bool) -> int:
    if isinstance(tree, dict):
        return 4096 + sum(stored(below, holes=holes) for below in tree.values())
    assert isinstance(tree, int)
    return -(-(tree - (tree // 2 // 4096 * 4096 if holes else 0)) // 4096) * 4096

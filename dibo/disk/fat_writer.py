"""A FAT file system of a tree that streams by: data first, as it comes, then directories and the table.

    reserved | FAT | FAT | files, in the order in which they came | directories, and files that came last |

A FAT has no owners, modes, links or devices, and no holes: these are written as zeros, which a fresh disk has.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from typing import Final

from dibo.errors import LayoutError, OutputError
from dibo.formats.fat.build import (
    FatNode,
    FatVolume,
    add,
    add_file,
    check_size,
    enter,
    measure,
    walk,
    write_tree,
)
from dibo.formats.fat.geometry import Geometry, choose_geometry
from dibo.formats.fat.names import fold
from dibo.formats.target import Target
from dibo.tree.node import TYPE_NAMES, Buffer, Node
from dibo.units import MIB, SECTOR, human_size

_MANY: Final = 512
_LARGE: Final = 4 << 20
_SECOND: Final = 1_000_000_000


class FatContent:
    """The data of one file. Only the writer looks inside."""

    __slots__ = ("clusters", "first", "size")

    def __init__(self, size: int, first: int, clusters: int) -> None:
        self.size = size
        self.first = first
        self.clusters = clusters


class FatWriter:
    """Contents (dibo.tree.node): `begin`, `write` and `skip` for each file, then `finish`, once."""

    def __init__(
        self, target: Target, geometry: Geometry, *, offset: int, label: str, serial: int, mtime: int
    ) -> None:
        """`mtime` is the time of files that the tree does not have."""
        self._target = target
        self._offset = offset
        self._label = label
        self._serial = serial
        self._mtime = mtime
        self._geometry = geometry
        self._cursor = 0
        """Clusters that are taken."""
        self._freed = 0
        self._buffers: list[Buffer] = []
        self._pending = 0
        self._at = 0
        """Where what is pending goes."""
        self._fits = True

    def begin(self, size: int) -> FatContent:
        self.flush()
        clusters = -(-size // self._geometry.cluster_size)
        content = FatContent(size, self._cursor + 2 if clusters else 0, clusters)
        self._at = (
            self._offset
            + self._geometry.data_start * self._geometry.sector
            + self._cursor * self._geometry.cluster_size
        )
        self._cursor += clusters
        self._fits = self._cursor <= self._geometry.clusters
        return content

    def write(self, data: Buffer) -> None:
        if not self._fits:
            return
        self._buffers.append(data)
        self._pending += len(data)
        if self._pending >= _LARGE or len(self._buffers) >= _MANY:
            self.flush()

    def skip(self, size: int) -> None:
        self.flush()
        self._at += size

    def flush(self) -> None:
        if self._buffers:
            self._target.write(self._at, self._buffers)
            self._at += self._pending
            self._buffers = []
            self._pending = 0

    def release(self, content: object) -> None:
        """The clusters are free in the table; nothing is put there any more."""
        assert isinstance(content, FatContent)
        self.flush()
        end = content.first - 2 + content.clusters
        if content.clusters and end <= self._geometry.clusters:
            size = self._geometry.cluster_size
            start = self._geometry.data_start * self._geometry.sector + (content.first - 2) * size
            self._target.discard(self._offset + start, content.clusters * size)
        self._freed += content.clusters

    def finish(self, root: Node, more: Mapping[str, bytes]) -> None:
        """Write all that is not data yet: the directories of `root`, and the files in `more`, by their paths, which
        take the place of those in the tree. Raises LayoutError when it does not fit, and OutputError for what a FAT
        cannot hold."""
        self.flush()
        tree = fat_tree(root, self._mtime)
        for path, data in sorted(more.items()):
            for replaced in _taken_out(tree, path):
                self._freed += replaced.clusters
            add_file(tree, path, data, mtime=self._mtime)
        write_tree(
            FatVolume(target=self._target, offset=self._offset, label=self._label, serial=self._serial),
            tree,
            self._geometry,
            cursor=self._cursor,
            freed=self._freed,
        )


def fat_tree(root: Node, mtime: int) -> FatNode:
    """The tree as a FAT has it. Raises OutputError for what a FAT cannot hold."""
    tree = FatNode(name="", path="", mtime=mtime)
    todo = [(root, tree)]
    while todo:
        node, place = todo.pop()
        for raw, child in (node.children or {}).items():
            try:
                name = raw.decode()
            except UnicodeDecodeError:
                raise OutputError(f"FAT cannot hold {raw!r} in /{place.path}: it is not UTF-8") from None
            path = f"{place.path}/{name}".lstrip("/")
            if child.children is not None:
                todo.append((child, enter(place, name, mtime=child.mtime // _SECOND)))
            elif stat.S_ISREG(child.mode):
                check_size(path, child.size)
                add(place, _file(name, path, child))
            else:
                raise OutputError(
                    f"FAT cannot hold {path!r}: it is a {TYPE_NAMES.get(stat.S_IFMT(child.mode), 'special file')}",
                    hint="mount another file system there, or leave it out of the root",
                )
    return tree


def _file(name: str, path: str, node: Node) -> FatNode:
    file = FatNode(name=name, path=path, data=b"", written=True, size=node.size, mtime=node.mtime // _SECOND)
    if isinstance(node.content, FatContent):
        file.first, file.clusters = node.content.first, node.content.clusters
    return file


def _taken_out(tree: FatNode, path: str) -> list[FatNode]:
    *parents, name = path.split("/")
    for parent in parents:
        child = tree.children.get(fold(parent))
        if child is None:
            return []
        tree = child
    taken = tree.children.pop(fold(name), None)
    return [taken] if taken is not None else []


def smallest_fat(
    root: Node, more: Mapping[str, bytes], *, free: int, label: str, sector: int = SECTOR
) -> int:
    """Bytes of the smallest FAT, in whole MiB, that holds `root` and `more`, and `free` bytes besides. Raises
    OutputError, LayoutError."""
    tree = fat_tree(root, 0)
    for path, data in more.items():
        _taken_out(tree, path)
        add_file(tree, path, data, mtime=0)
    measure(tree, labelled=bool(label))
    nodes = [node for node in walk(tree) if node is not tree]
    stored = sum(node.size for node in nodes)
    size = max(MIB, (stored + free) // MIB * MIB)
    while not _holds(choose_geometry(size, sector=sector), tree, nodes, free):
        size += MIB
        if size > stored + free + 64 * MIB + (stored + free) // 2:
            raise LayoutError(f"no FAT holds {human_size(stored)} in {len(nodes)} files and directories")
    return size


def _holds(geometry: Geometry, root: FatNode, nodes: list[FatNode], free: int) -> bool:
    if geometry.root_sectors and root.size > geometry.root_sectors * geometry.sector:
        return False
    cluster_size = geometry.cluster_size
    taken = sum(max(-(-node.size // cluster_size), 1 if node.data is None else 0) for node in nodes)
    if not geometry.root_sectors:
        taken += max(1, -(-root.size // cluster_size))
    return taken + -(-free // cluster_size) <= geometry.clusters

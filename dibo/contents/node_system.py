"""A tree of Nodes as a FileSystem, so that what reads kernels of disks reads them of every form.

Only the bytes that are in memory (Node.data) can be read; other files seem to be empty.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from dibo.contents.inventory import KernelRecord
from dibo.formats.filesystem import FileEntry, Kind
from dibo.formats.partitions.reader import PartitionPlace
from dibo.inspect.kernels import kernels
from dibo.inspect.volumes import Volume
from dibo.tree.node import Node

_KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.LINK}


class NodeSystem:
    """A FileSystem."""

    def __init__(self, root: Node) -> None:
        self.root = _entry(root)

    def names(self, directory: FileEntry) -> tuple[bytes, ...]:
        return tuple(sorted(_node(directory).children or {}))

    def lookup(self, directory: FileEntry, name: bytes) -> FileEntry | None:
        child = (_node(directory).children or {}).get(name)
        return None if child is None else _entry(child)

    def target(self, link: FileEntry) -> bytes:
        return _node(link).target

    def content(self, file: FileEntry) -> Iterator[bytes]:
        yield _node(file).data or b""


def kernels_of(root: Node) -> tuple[KernelRecord, ...]:
    """The kernels of a tree, the newest last, with what its boot loader gives them. Raises DiskImageError."""
    place = PartitionPlace(number=0, offset=0, size=0)
    volume = Volume(place=place, kind="tree", system=NodeSystem(root))
    return tuple(
        KernelRecord(
            version=kernel.version,
            path=kernel.kernel.path,
            ramdisks=tuple(file.path for file in kernel.ramdisks),
            arguments=kernel.arguments,
        )
        for kernel in kernels((volume,))
    )


def _entry(node: Node) -> FileEntry:
    kind = _KINDS.get(stat.S_IFMT(node.mode), Kind.OTHER)
    return FileEntry(kind=kind, size=node.size, handle=node)


def _node(entry: FileEntry) -> Node:
    assert isinstance(entry.handle, Node)
    return entry.handle

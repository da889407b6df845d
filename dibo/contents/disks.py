"""Disk images: the files of each volume that dibo reads, put where the root's fstab(5) mounts them.

A volume that nothing mounts has its files below `partition N`, which no file of the root is called.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from dibo.contents.inventory import PartitionRecord
from dibo.contents.kept_files import MOST_BYTES, is_read
from dibo.contents.tree_source import TreeSource, walk
from dibo.errors import DiboError, DiskImageError
from dibo.formats.filesystem import FileEntry, FileSystem, Kind, find, read_text
from dibo.formats.source import Source
from dibo.inspect.volumes import Volume, volumes
from dibo.tree.node import Node

_MOST_ENTRIES: Final = 2_000_000
_MOST_DEPTH: Final = 256
_MOST_FSTAB: Final = 1 << 20
_TYPES: Final = {
    Kind.FILE: stat.S_IFREG | 0o755,
    Kind.DIRECTORY: stat.S_IFDIR | 0o755,
    Kind.LINK: stat.S_IFLNK | 0o777,
}
"""Of file systems without modes."""
_SECOND: Final = 1_000_000_000
_SWAP: Final = "swap"


def read_disk(disk: Source, *, name: str, disk_format: str, stored: int) -> TreeSource:
    """Raises DiskImageError where nothing on the disk can be read, or something is damaged."""
    on_disk = volumes(disk)
    readable = [volume for volume in on_disk if volume.system is not None]
    if not readable:
        raise DiskImageError(
            f"{name} has no file system that dibo reads",
            hint="it has "
            + ("; ".join(map(str, on_disk)) or "no partitions")
            + "; dibo reads ext2, ext3, ext4 and FAT",
        )
    root = next((volume for volume in readable if _is_root(volume)), None)
    places = _places(readable, root)
    tree = Node(stat.S_IFDIR | 0o755)
    reading = _Reading()
    for volume in sorted(readable, key=lambda volume: places[volume.place.number].count("/")):
        assert volume.system is not None
        top = reading.tree(volume.system)
        _mount(tree, places[volume.place.number], top)
    kept = _keep(tree)
    return TreeSource(
        name=name,
        form="disk",
        format=disk_format,
        root=tree,
        digests=_digests,
        content=_bytes_of,
        stored=stored,
        partitions=tuple(_partition(volume, places.get(volume.place.number, "")) for volume in on_disk),
        notes=(*_notes(on_disk), *kept),
    )


def _is_root(volume: Volume) -> bool:
    try:
        return (
            volume.system is not None
            and volume.kind != "vfat"
            and find(volume.system, "/etc") is not None
            and find(volume.system, "/usr") is not None
        )
    except DiskImageError:
        return False


def _places(readable: Sequence[Volume], root: Volume | None) -> dict[int, str]:
    """Where each volume is, by its number: `` for the root, `boot/efi`, `partition 3`."""
    if root is None and len(readable) == 1:
        return {readable[0].place.number: ""}
    places = {volume.place.number: f"partition {volume.place.number}" for volume in readable}
    if root is None or root.system is None:
        return places
    places[root.place.number] = ""
    for line in (read_text(root.system, "/etc/fstab", limit=_MOST_FSTAB) or "").splitlines():
        words = line.split()
        if len(words) < 3 or words[0].startswith("#") or not words[1].startswith("/") or words[2] == _SWAP:
            continue
        path = words[1].strip("/")
        parts = path.split("/")
        if not path or ".." in parts or "." in parts or "" in parts or path in places.values():
            continue
        volume = next(
            (volume for volume in readable if volume is not root and _named(words[0], volume)), None
        )
        if volume is not None:
            places[volume.place.number] = path
    return places


def _named(device: str, volume: Volume) -> bool:
    kind, _, value = device.partition("=")
    value = value.strip('"')
    return (kind == "LABEL" and bool(value) and value == volume.label) or (
        kind == "UUID" and value.casefold() == volume.uuid.casefold()
    )


def _mount(tree: Node, path: str, top: Node) -> None:
    """Put a volume's root at `path`; directories on the way are made, whatever is there gives way."""
    if not path:
        tree.mode, tree.uid, tree.gid, tree.mtime = top.mode, top.uid, top.gid, top.mtime
        tree.xattrs, tree.children = top.xattrs, top.children
        return
    *above, last = (part.encode(errors="surrogateescape") for part in path.split("/"))
    here = tree
    for part in above:
        assert here.children is not None
        child = here.children.get(part)
        if child is None or child.children is None:
            child = here.children[part] = Node(stat.S_IFDIR | 0o755)
        here = child
    assert here.children is not None
    here.children[last] = top


class _Reading:
    """Makes trees of file systems, with at most so many names together."""

    def __init__(self) -> None:
        self._left = _MOST_ENTRIES

    def tree(self, system: FileSystem) -> Node:
        seen: dict[int, Node] = {}
        root_entry = system.root
        root = _node(system, root_entry)
        seen[root_entry.identity] = root
        todo = [(root, root_entry, 0)]
        while todo:
            directory, entry, depth = todo.pop()
            if depth > _MOST_DEPTH:
                raise DiskImageError(f"a file system has more than {_MOST_DEPTH} directories in each other")
            assert directory.children is not None
            for name in system.names(entry):
                self._left -= 1
                if self._left < 0:
                    raise DiskImageError(f"the disk has more than {_MOST_ENTRIES} files")
                child = system.lookup(entry, name)
                if child is None:
                    continue
                node = seen.get(child.identity) if child.identity else None
                if node is not None and node.children is not None:
                    raise DiskImageError("a directory of a file system lies in two directories, or in itself")
                if node is None:
                    node = _node(system, child)
                    if child.identity:
                        seen[child.identity] = node
                    if node.children is not None:
                        todo.append((node, child, depth + 1))
                directory.children[name] = node
        return root


def _node(system: FileSystem, entry: FileEntry) -> Node:
    attributes = entry.attributes or (_TYPES.get(entry.kind, stat.S_IFREG), 0, 0, 0)
    mode, uid, gid, seconds = attributes
    node = Node(mode, uid, gid, seconds * _SECOND)
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFREG:
        node.size = entry.size
        node.content = (system, entry.identity if entry.identity else entry)
    elif kind == stat.S_IFLNK:
        node.target = system.target(entry)
        node.size = len(node.target)
    xattrs: Callable[[FileEntry], dict[bytes, bytes]] | None = getattr(system, "xattrs", None)
    if xattrs is not None:
        node.xattrs = xattrs(entry) or None
    device: Callable[[FileEntry], tuple[int, int]] | None = getattr(system, "device", None)
    if device is not None and kind in (stat.S_IFCHR, stat.S_IFBLK):
        node.device = device(entry)
    return node


def _bytes_of(node: Node) -> Iterator[bytes]:
    assert isinstance(node.content, tuple)
    system, entry = node.content
    yield from system.content(system.inode(entry) if isinstance(entry, int) else entry)


def _keep(tree: Node) -> list[str]:
    """Have the files that inventories read in memory; notes of those that cannot be."""
    notes = []
    for path, node in walk(tree):
        if not stat.S_ISREG(node.mode) or not is_read(path):
            continue
        if node.size > MOST_BYTES:
            notes.append(f"/{path.decode(errors='backslashreplace')} is not read: it has {node.size} bytes")
            continue
        try:
            node.data = b"".join(_bytes_of(node))
        except DiskImageError as error:
            notes.append(f"/{path.decode(errors='backslashreplace')} is not read: {error.message}")
    return notes


def _digests(nodes: Mapping[bytes, Node]) -> Mapping[bytes, str]:
    return digests_of(nodes, _bytes_of)


def digests_of(nodes: Mapping[bytes, Node], content: Callable[[Node], Iterator[bytes]]) -> dict[bytes, str]:
    """The sha256 of files; those that cannot be read are left out."""
    digests: dict[bytes, str] = {}
    known: dict[Node, str] = {}
    for path, node in nodes.items():
        if node not in known:
            digest = hashlib.sha256()
            try:
                for piece in content(node):
                    digest.update(piece)
            except (DiboError, OSError):
                continue
            known[node] = digest.hexdigest()
        digests[path] = known[node]
    return digests


def _partition(volume: Volume, mounted: str) -> PartitionRecord:
    return PartitionRecord(
        number=volume.place.number,
        start=volume.place.offset,
        size=volume.place.size,
        filesystem=volume.kind,
        label=volume.label,
        uuid=volume.uuid,
        mounted="/" + mounted if volume.system is not None else "",
        trouble=volume.trouble,
    )


def _notes(on_disk: Sequence[Volume]) -> Iterator[str]:
    for volume in on_disk:
        if volume.kind and volume.system is None and volume.kind != _SWAP:
            reason = volume.trouble or "dibo reads ext2, ext3, ext4 and FAT"
            yield f"files on {volume.name}, a {volume.kind}, are not read: {reason}"
        if volume.needs_recovery:
            yield f"{volume.name} was not unmounted; what its journal alone has is not seen"

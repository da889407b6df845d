"""The tree of a ramdisk, selected from the tree of a root.

Selected files keep their paths. Symbolic links on the way are selected too, so a merged /usr stays merged, a soname
stays a link, and a hard link stays one inode.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dibo.formats import paths
from dibo.tree.node import Node

Read = Callable[[Node], bytes]
"""All bytes of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPath:
    """The inode at a path after following symbolic links."""

    path: str
    """From the root, with no link in it."""
    node: Node


def parts(path: str) -> list[bytes]:
    return [part for part in path.encode(errors="surrogateescape").split(b"/") if part]


def text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")


def resolve(
    root: Node, path: str, *, visit: Callable[[list[bytes], Node], None] | None = None
) -> ResolvedPath | None:
    """What lies at `path` as a chroot would see it; None where nothing does. `visit` is told every step: the path
    without links to it, and the inode, links among them."""

    def visited(trail: paths.Trail[Node], name: bytes) -> Node | bytes | None:
        child = (trail[-1][1].children or {}).get(name)
        if child is not None and visit is not None:
            visit([*(step for step, _ in trail[1:]), name], child)
        return child.target if child is not None and stat.S_ISLNK(child.mode) else child

    try:
        trail = paths.follow(root, parts(path), visited)
    except paths.TooManyLinks:
        return None
    if trail is None:
        return None
    return ResolvedPath(path="/" + "/".join(text(name) for name, _ in trail[1:]), node=trail[-1][1])


def children(root: Node, path: str) -> tuple[str, ...]:
    """Names in the directory at `path`, sorted; nothing where it is none."""
    resolved = resolve(root, path)
    return tuple(sorted(text(name) for name in resolved.node.children or {})) if resolved else ()


def files_below(root: Node, path: str) -> Iterator[str]:
    """Paths, from the root, of all that is no directory below the directory at `path`, sorted."""
    resolved = resolve(root, path)
    if resolved is None or resolved.node.children is None:
        return
    for name in sorted(resolved.node.children):
        below = f"{resolved.path.rstrip('/')}/{text(name)}"
        if resolved.node.children[name].children is not None:
            yield from files_below(root, below)
        else:
            yield below


class Selection:
    """The tree selected so far; `root` is not changed."""

    def __init__(self, root: Node, read: Read) -> None:
        self.root = root
        self.read = read
        self.tree = Node(stat.S_IFDIR | 0o755)

    def take(self, path: str) -> ResolvedPath | None:
        """Pick what lies at `path` in the root, and the links that lead there. Of a directory, the directory alone.
        None where nothing lies there."""
        return resolve(self.root, path, visit=self._copy)

    def take_all(self, path: str) -> bool:
        """Pick a directory with all that is below, or a file; whether there is one."""
        resolved = self.take(path)
        if resolved is None:
            return False
        for below in files_below(self.root, resolved.path):
            if self.take(below) is None:  # a link that leads nowhere
                name = parts(below)
                link = resolve(self.root, "/" + "/".join(map(text, name[:-1])))
                assert link is not None and link.node.children is not None
                self._copy(name, link.node.children[name[-1]])
        return True

    def _copy(self, path: list[bytes], node: Node) -> None:
        directory = self._directory(path[:-1])
        assert directory.children is not None
        if node.children is None:
            directory.children[path[-1]] = node
        elif (existing := directory.children.get(path[-1])) is None or existing.children is None:
            directory.children[path[-1]] = copy = Node(node.mode, node.uid, node.gid, node.mtime)
            copy.xattrs = node.xattrs

    def _directory(self, path: list[bytes]) -> Node:
        """The directory at `path` in the ramdisk; what is missing of it is made."""
        here = resolve(self.tree, "/" + "/".join(map(text, path)))
        if here is not None and here.node.children is not None:
            return here.node
        node = self._directory(path[:-1])
        assert node.children is not None
        existing = node.children.get(path[-1])
        if existing is not None and stat.S_ISLNK(existing.mode):  # a link whose end was not picked
            base = "/" if existing.target.startswith(b"/") else "/" + "/".join(map(text, path[:-1])) + "/"
            return self._directory(parts(base + text(existing.target)))
        node.children[path[-1]] = made = Node(stat.S_IFDIR | 0o755)
        return made

    def directory(self, path: str, mode: int = 0o755) -> None:
        """An empty directory, unless it is there."""
        if resolve(self.tree, path) is None:
            self._directory(parts(path)).mode = stat.S_IFDIR | mode

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """A file that is not of the root."""
        node = Node(stat.S_IFREG | mode)
        node.data, node.size = data, len(data)
        self.place(path, node)

    def link(self, path: str, target: str) -> None:
        node = Node(stat.S_IFLNK | 0o777)
        node.target = target.encode(errors="surrogateescape")
        node.size = len(node.target)
        self.place(path, node)

    def device(self, path: str, mode: int, device: tuple[int, int]) -> None:
        node = Node(mode)
        node.device = device
        self.place(path, node)

    def place(self, path: str, node: Node) -> None:
        """Any inode at a path of the ramdisk; it replaces the inode at that path."""
        name = parts(path)
        directory = self._directory(name[:-1])
        assert directory.children is not None
        directory.children[name[-1]] = node

    def has(self, path: str) -> bool:
        return resolve(self.tree, path) is not None

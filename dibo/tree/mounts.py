"""A tree as it lies on several file systems: cut where they are mounted, and put together again afterwards."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import PurePosixPath
from types import TracebackType
from typing import Self

from dibo.errors import LayoutError
from dibo.tree.node import TYPE_NAMES, Node


class Mounted:
    """A context manager; at its end the tree is as it was before."""

    def __init__(self, root: Node, mounts: Iterable[PurePosixPath], *, mtime: int) -> None:
        """`mounts` besides the root. A directory to mount on is made where there is none, with `mtime` in nanoseconds.
        Raises LayoutError where something else is in the way."""
        self.tops: dict[PurePosixPath, Node] = {PurePosixPath("/"): root}
        """The root directory of each file system."""
        self._undo: list[tuple[dict[bytes, Node], bytes, Node | None]] = []
        try:
            for mount in sorted(mounts, key=lambda path: (len(path.parts), path)):
                self._cut(mount, mtime)
        except BaseException:
            self._restore()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _restore(self) -> None:
        while self._undo:
            children, name, node = self._undo.pop()
            if node is None:
                del children[name]
            else:
                children[name] = node

    def _cut(self, mount: PurePosixPath, mtime: int) -> None:
        below = next(path for path in mount.parents if path in self.tops)
        here = self.tops[below]
        path = below
        *parents, last = mount.relative_to(below).parts
        for part in parents:
            path /= part
            here = self._directory(here, part, path, mount, mtime)
        top = self._directory(here, last, mount, mount, mtime)
        point = Node(top.mode, top.uid, top.gid, top.mtime)
        point.xattrs = top.xattrs
        self.put(here, last.encode(), point)
        self.tops[mount] = top

    def _directory(
        self, here: Node, name: str, path: PurePosixPath, mount: PurePosixPath, mtime: int
    ) -> Node:
        assert here.children is not None
        child = here.children.get(name.encode())
        if child is None:
            child = Node(stat.S_IFDIR | 0o755, mtime=mtime)
            self.put(here, name.encode(), child)
        elif child.children is None:
            type_name = TYPE_NAMES.get(stat.S_IFMT(child.mode), "special file")
            raise LayoutError(
                f"nothing can be mounted at {mount}: {path} is a {type_name} in the root",
                hint="mount it where it leads to" if stat.S_ISLNK(child.mode) else "",
            )
        return child

    def put(self, directory: Node, name: bytes, node: Node) -> None:
        """`node` stands there until the end."""
        assert directory.children is not None
        self._undo.append((directory.children, name, directory.children.get(name)))
        directory.children[name] = node

    def remove(self, directory: Node, name: bytes) -> Node:
        """Take a file away until the end; the file."""
        assert directory.children is not None
        node = directory.children.pop(name)
        self._undo.append((directory.children, name, node))
        return node

    def make_directories(self, path: PurePosixPath, *, mtime: int) -> bool:
        """Make `path` and what is missing above it, with `mtime` in nanoseconds; False where a file is in the way."""
        for parent in (*reversed(path.parents), path):
            if parent in self.tops:
                continue
            place = self.find(parent)
            if place is None:
                return False
            _, directory, name = place
            child = (directory.children or {}).get(name)
            if child is None:
                self.put(directory, name, Node(stat.S_IFDIR | 0o755, mtime=mtime))
            elif child.children is None:
                return False
        return True

    def find(self, path: PurePosixPath) -> tuple[PurePosixPath, Node, bytes] | None:
        """Where a file is: the mount of its file system, the directory it is in, its name. No symlink is followed."""
        mount = next(above for above in path.parents if above in self.tops)
        here = self.tops[mount]
        *parents, last = path.relative_to(mount).parts
        for part in parents:
            child = (here.children or {}).get(part.encode())
            if child is None or child.children is None:
                return None
            here = child
        return mount, here, last.encode()

"""A tree on several file systems: where the bytes of each file go while the tree is not known yet.

Files go by their paths, as the layer at hand has them: below /boot, to the file system that will be mounted there. That
is a guess, as the mask is (dibo.images.layers.flatten): a parent may turn out to be a symlink of a lower
layer, and a hard link
may lead out of a file system. So when the tree is known, each file is looked up: what is on the wrong file system is
read once more, and a file with names on two gets a second node, a copy; no file system could have it otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from dibo.formats.file_range import FileRange
from dibo.tree.node import Buffer, Contents, Node, write_range

MAIN: Final = b""


class Skipped:
    """In place of what Contents would have given: where the bytes are, in case they are needed later."""

    __slots__ = ("entry", "layer", "path", "place")

    def __init__(self, layer: int, entry: int, path: bytes) -> None:
        self.layer = layer
        self.entry = entry
        self.path = path
        self.place = path
        """The path that decides which file system it goes to."""


class Divided:
    """Contents that are several. `towards` says where the next file goes."""

    def __init__(self, places: Mapping[bytes, Contents]) -> None:
        """`places` by the path of what is mounted there, without a leading slash; MAIN is the root file system."""
        self._places = dict(sorted(places.items(), key=lambda item: -len(item[0])))
        self._main = self._here = places[MAIN]
        self._others = tuple((path + b"/", place) for path, place in self._places.items() if path)
        self._prefixes = tuple(path for path, _ in self._others)
        self._elsewhere: dict[object, Contents] = {}
        """Who has the contents that the root file system has not."""

    def towards(self, path: bytes) -> None:
        """The next file is the one at `path`."""
        self._here = self._main
        if path.startswith(self._prefixes):
            self._here = next(place for prefix, place in self._others if path.startswith(prefix))

    def begin(self, size: int) -> object:
        content = self._here.begin(size)
        if self._here is not self._main:
            self._elsewhere[content] = self._here
        return content

    def write(self, data: Buffer) -> None:
        self._here.write(data)

    def write_range(self, source: FileRange) -> None:
        write_range(self._here, source)

    def skip(self, size: int) -> None:
        self._here.skip(size)

    def flush(self) -> None:
        for place in self._places.values():
            place.flush()

    def release(self, content: object) -> None:
        self._elsewhere.pop(content, self._main).release(content)

    def settle(self, root: Node) -> Iterator[tuple[Node, bytes, Node]]:
        """Files of the finished tree that are to be read again: the node, a path that leads to its file system, and the
        node that knows where it was read. In the end every file is on one file system."""
        tops = {id(top): path for path in self._places if (top := _find(root, path)) is not None}
        seen: dict[Node, Contents] = {}
        copies: dict[tuple[Node, bytes], Node] = {}
        for path, place in reversed(self._places.items()):
            top = _find(root, path)
            if top is None or tops[id(top)] != path:
                continue
            within = (path + b"/" if path else b"") + b"-"
            todo = [top]
            while todo:
                children = todo.pop().children or {}
                for name, node in children.items():
                    if node.children is not None:
                        if id(node) not in tops:
                            todo.append(node)
                    elif node.content is None:
                        continue
                    elif seen.setdefault(node, place) is place:
                        if self._is_misplaced(node, place):
                            yield node, within, node
                    elif (node, path) in copies:
                        children[name] = copies[node, path]
                    else:
                        children[name] = copies[node, path] = copy = _copy(node)
                        yield copy, within, node

    def _is_misplaced(self, node: Node, place: Contents) -> bool:
        if isinstance(node.content, Skipped):
            return True
        return self._elsewhere.get(node.content, self._main) is not place


def _find(root: Node, path: bytes) -> Node | None:
    """The directory at `path`, no symlink followed."""
    node = root
    for name in path.split(b"/") if path else ():
        child = (node.children or {}).get(name)
        if child is None or child.children is None:
            return None
        node = child
    return node


def _copy(node: Node) -> Node:
    copy = Node(node.mode, node.uid, node.gid, node.mtime)
    copy.xattrs = dict(node.xattrs) if node.xattrs else None
    copy.size, copy.data = node.size, node.data
    return copy

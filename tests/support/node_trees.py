"""Trees of Nodes out of dictionaries, for tests, and back."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping

from dibo.tree.node import Node

Content = bytes | str | None


class Program(bytes):
    """Bytes of a file that may be executed."""


def tree(entries: Mapping[str, Content | Node]) -> Node:
    """Bytes are a file, text is the target of a symbolic link, None an empty directory, a Node itself."""
    root = Node(stat.S_IFDIR | 0o755)
    for path, content in entries.items():
        *above, name = path.strip("/").split("/")
        here = root
        for part in above:
            assert here.children is not None
            here = here.children.setdefault(part.encode(), Node(stat.S_IFDIR | 0o755))
        assert here.children is not None, f"{path}: its parent is no directory"
        here.children[name.encode()] = node(content)
    return root


def node(content: Content | Node) -> Node:
    if isinstance(content, Node):
        return content
    if content is None:
        return Node(stat.S_IFDIR | 0o755)
    if isinstance(content, str):
        link = Node(stat.S_IFLNK | 0o777)
        link.target, link.size = content.encode(), len(content)
        return link
    file = Node(stat.S_IFREG | (0o755 if isinstance(content, Program) else 0o644))
    file.data, file.size = bytes(content), len(content)
    return file


def read(file: Node) -> bytes:
    assert file.data is not None
    return file.data


def listing(root: Node, above: str = "") -> Iterator[tuple[str, Content]]:
    """Path and content of all in a tree, sorted; directories only where they are empty."""
    for name, child in sorted((root.children or {}).items()):
        path = f"{above}{name.decode()}"
        if child.children:
            yield from listing(child, f"{path}/")
        elif child.children is not None:
            yield path, None
        elif stat.S_ISLNK(child.mode):
            yield path, child.target.decode()
        else:
            yield path, child.data

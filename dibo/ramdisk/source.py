"""Reads the bytes of a ramdisk's files: from a spool of layers, from memory, or from files of this machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from dibo.errors import RamdiskError
from dibo.tree.node import Buffer, Node

_PIECE: Final = 1 << 20


class SpoolReader(Protocol):
    """What reads again what was written (dibo.images.layers.spool)."""

    def read(self, content: object, offset: int = 0, size: int | None = None) -> Iterator[bytes]: ...


class ContentReader:
    """Reads the content of a Node from its storage."""

    def __init__(self, spool: SpoolReader) -> None:
        self._spool = spool

    def stream(self, node: Node) -> Iterator[Buffer]:
        if node.data is not None:
            yield node.data
        elif isinstance(node.content, Path):
            with node.content.open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece
        elif node.content is not None:
            yield from self._spool.read(node.content)

    def read(self, node: Node) -> bytes:
        return b"".join(self.stream(node))


def host_tree(root: Path, places: tuple[str, ...]) -> Node:
    """What lies at some places, `lib/modules/6.1`, below a directory of this machine, as a tree. Links are followed
    where they stay below it. Raises RamdiskError."""
    tree = Node(stat.S_IFDIR | 0o755)
    try:
        for place in places:
            here, path = tree, root
            for name in place.split("/"):
                path = path / name
                if not os.path.lexists(path):
                    break
                assert here.children is not None
                child = here.children.get(name.encode())
                if child is None:
                    child = here.children[name.encode()] = host_node(path)
                if stat.S_ISLNK(child.mode):
                    linked = os.path.relpath(path.resolve(), root.resolve())
                    if not linked.startswith(".."):
                        rest = place.split("/")[len(path.relative_to(root).parts) :]
                        _merge(tree, host_tree(root, ("/".join([linked, *rest]),)))
                    break
                here = child
            else:
                _fill(here, path)
    except OSError as error:
        raise RamdiskError(f"cannot read {error.filename}: {error.strerror}") from error
    return tree


def host_node(path: Path) -> Node:
    status = path.lstat()
    node = Node(status.st_mode, mtime=status.st_mtime_ns)  # root's, whoever has it here
    if stat.S_ISLNK(status.st_mode):
        node.target = os.fsencode(os.readlink(path))  # noqa: PTH115
        node.size = len(node.target)
    elif stat.S_ISREG(status.st_mode):
        node.content, node.size = path, status.st_size
    return node


def _fill(directory: Node, path: Path) -> None:
    if directory.children is None:
        return
    for below in sorted(path.iterdir()):
        node = directory.children.setdefault(os.fsencode(below.name), host_node(below))
        _fill(node, below)


def _merge(into: Node, source_tree: Node) -> None:
    for name, node in (source_tree.children or {}).items():
        assert into.children is not None
        existing = into.children.get(name)
        if existing is not None and existing.children is not None and node.children is not None:
            _merge(existing, node)
        else:
            into.children.setdefault(name, node)

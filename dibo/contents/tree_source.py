"""A file tree of any origin, as an inventory is made of it: what every reader of a form returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dibo.contents.inventory import LayerRecord, PartitionRecord
from dibo.tree.node import Node

DigestReader = Callable[[Mapping[bytes, Node]], Mapping[bytes, str]]
"""The sha256 of files, hexadecimal, by path; files that cannot be read are left out. May raise DiboError."""
ContentReader = Callable[[Node], Iterator[bytes]]
"""The bytes of a file, in pieces. Raises DiboError, OSError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNotes:
    """Which layer brought a file, by its Node; of a directory, by its path. Digests of files, where they are known."""

    nodes: Mapping[Node, int] = field(default_factory=dict)
    directories: Mapping[bytes, int] = field(default_factory=dict)
    digests: Mapping[Node, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeSource:
    """`root` has in memory (Node.data) the files that dibo.contents.kept_files names."""

    name: str
    form: str
    format: str
    root: Node
    digests: DigestReader
    content: ContentReader | None = None
    """None where bytes come in one stream alone."""
    architecture: str = ""
    digest: str = ""
    stored: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[LayerRecord, ...] = ()
    layer_notes: LayerNotes = field(default_factory=LayerNotes)
    partitions: tuple[PartitionRecord, ...] = ()
    notes: tuple[str, ...] = ()


def node_at(root: Node, path: bytes) -> Node | None:
    """The node of that name; no link is followed."""
    node: Node | None = root
    for part in path.split(b"/"):
        if node is None or node.children is None:
            return None
        node = node.children.get(part)
    return node


def walk(root: Node) -> Iterator[tuple[bytes, Node]]:
    """Every name below `root` with its path, in the order of paths' parts."""
    todo = [(b"", root)]
    while todo:
        path, node = todo.pop()
        if node is not root:
            yield path, node
        if node.children:
            above = path + b"/" if path else b""
            todo += [(above + name, node.children[name]) for name in sorted(node.children, reverse=True)]

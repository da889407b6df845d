"""Inode numbers for a tree: breadth first, so that the children of a directory lie together.

2 the root   11 lost+found   12 … everything else, in the order of the directories it is in
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from typing import Final

from dibo.formats.ext4.errors import Ext4Error
from dibo.formats.ext4.inode import MAX_LINKS
from dibo.formats.ext4.layout import FIRST_INODE
from dibo.formats.inode import InodeNode

ROOT: Final = 2
LOST_AND_FOUND: Final = b"lost+found"


@dataclass(slots=True)
class Numbering:
    """`nodes[n]` has number `first + n`, except for root and lost+found, which come first in it."""

    nodes: list[InodeNode] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)
    """By id(node)."""
    links: dict[int, int] = field(default_factory=dict)
    """How many names, where it is more than one, and how many subdirectories."""
    parents: dict[int, int] = field(default_factory=dict)
    """Of directories, by number."""
    lost_and_found: InodeNode | None = None
    """When the tree has one."""
    has_lost_and_found: bool = True
    last: int = FIRST_INODE
    """The highest number in use."""

    def path(self, target: InodeNode) -> str:
        """A name of `target`, for messages."""
        names: list[bytes] = []
        while target is not self.nodes[0]:
            target, name = self._above(target)
            names.append(name)
        return "/" + b"/".join(reversed(names)).decode(errors="backslashreplace")

    def _above(self, target: InodeNode) -> tuple[InodeNode, bytes]:
        for node in self.nodes:  # those nearer to the root come first
            for name, child in (node.children or {}).items():
                if child is target:
                    return node, name
        raise KeyError(target)


def number_nodes(root: InodeNode) -> Numbering:
    """Raises Ext4Error where a directory has two names, or an inode too many."""
    if root.children is None or not stat.S_ISDIR(root.mode):
        raise Ext4Error("the root of a tree is a directory")
    result = Numbering()
    nodes, numbers, links, parents = result.nodes, result.numbers, result.links, result.parents
    nodes.append(root)
    numbers[id(root)] = parents[ROOT] = ROOT
    number = FIRST_INODE
    lost = root.children.get(LOST_AND_FOUND)
    if lost is not None:
        if lost.children is not None:
            result.lost_and_found = lost
        else:
            number -= 1  # the tree has something else of that name: there is no such directory
            result.has_lost_and_found = False
    for node in nodes:  # which grows
        children = node.children
        if children is None:
            continue
        own = numbers[id(node)]
        subdirectories = 0
        for child in children.values():
            key = id(child)
            if key in numbers:
                if child.children is not None:
                    raise Ext4Error(f"{result.path(child)}: a directory with two names")
                again = numbers[key]
                links[again] = links.get(again, 1) + 1
                continue
            if child is lost and result.lost_and_found is not None:
                numbers[key] = FIRST_INODE
            else:
                number += 1
                numbers[key] = number
            nodes.append(child)
            if child.children is not None:
                parents[numbers[key]] = own
                subdirectories += 1
        links[own] = 2 + subdirectories
    if lost is None:
        links[ROOT] += 1  # lost+found's ".."
    result.last = number
    for node in nodes:
        if node.children is None and links.get(numbers[id(node)], 0) > MAX_LINKS:
            raise Ext4Error(f"{result.path(node)}: more than {MAX_LINKS} hard links")
    return result

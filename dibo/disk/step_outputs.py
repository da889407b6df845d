"""Files that scripts of elements leave beside the image: the kernel of `baremetal`, the directory of `manifests`, a
ramdisk of the whole root.

A script outside of the image writes them into its current directory. They are in the layer of its step until artefacts
are made of the root, and in none of these.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dibo.tree.node import Node
from dibo.tree.query import find, walk

PLACE: Final = b"var/lib/dibo-outputs"
"""In the root; containerfiles/elements/runner/outside has the same."""
LIMIT: Final = 2 << 30
"""Bytes of all of them, which are kept in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutputs:
    files: Mapping[str, bytes]
    """By path, relative to the directory of the image."""
    contents: tuple[object, ...]
    """Where their bytes are, which nothing needs there."""


def take_outputs(root: Node) -> StepOutputs:
    """Take them out of the tree."""
    directory, name = PLACE.rsplit(b"/", 1)
    parent = find(root, f"/{os.fsdecode(directory)}")
    top = (parent.children or {}).pop(name, None) if parent is not None else None
    if top is None:
        return StepOutputs(files={}, contents=())
    files = {os.fsdecode(path): node.data or b"" for path, node in _files(top)}
    contents = tuple(node.content for node in walk(top) if node.content is not None)
    return StepOutputs(files=files, contents=contents)


def _files(top: Node, prefix: bytes = b"") -> list[tuple[bytes, Node]]:
    entries: list[tuple[bytes, Node]] = []
    for name, node in sorted((top.children or {}).items()):
        if node.is_directory:
            entries += _files(node, prefix + name + b"/")
        elif stat.S_ISREG(node.mode):
            entries.append((prefix + name, node))
    return entries

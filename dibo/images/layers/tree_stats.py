"""What is in a finished tree, and whether any file system could have it."""

from __future__ import annotations

from dibo.errors import LayerError
from dibo.images.layers.limits import Limits
from dibo.tree.node import Node


class Survey:
    """What is in a finished tree. Raises LayerError where paths are too long or too deep."""

    def __init__(self, root: Node, limits: Limits) -> None:
        self.entries = 0
        self.files: dict[Node, None] = {}
        """Those that are not empty."""
        directories = 1
        others: set[Node] = set()
        level: list[tuple[Node, int]] = [(root, 0)]
        for _ in range(limits.depth + 1):
            below: list[tuple[Node, int]] = []
            for directory, length in level:
                children = directory.children or {}
                self.entries += len(children)
                for name, node in children.items():
                    if node.children is not None:
                        below.append((node, length + 1 + len(name)))
                    elif node.content is not None:
                        self.files[node] = None
                    else:
                        others.add(node)
                if children and length + 1 + max(map(len, children)) > limits.path_bytes:
                    raise LayerError(f"the image has paths longer than {limits.path_bytes} bytes")
            directories += len(below)
            level = below
            if not level:
                break
        else:
            raise LayerError(f"the image has more than {limits.depth} directories in each other")
        self.inodes = directories + len(self.files) + len(others)

"""A layer's tree put on the tree of all below it, and what it hides of those that are still to come.

Layers are read from the highest to the lowest, so that what is hidden need not be written, and stacked from the lowest
to the highest, since only then is it known where symlinked parents lead. The mask is therefore a guess that is right
but for such parents, and stacking decides.
"""

from __future__ import annotations

import stat

from dibo.formats.paths import MOST_LINK_BYTES, MOST_LINKS, TooManyLinks, Trail, follow
from dibo.images.layers.layer_tree import HIDDEN, LayerDirectory, LayerTree, Link, Mask, find
from dibo.images.layers.tar_header import Malformed
from dibo.tree.node import Node

_Path = tuple[bytes, ...]


def cover(mask: Mask, directory: LayerDirectory) -> None:
    """Add to `mask` what the layer with this root hides."""
    todo = [(mask, directory)]
    while todo:
        mask, directory = todo.pop()
        if mask.opaque:
            continue
        names = mask.names
        for name, node in directory.children.items():
            under = names.get(name)
            if isinstance(node, LayerDirectory):
                if under is None:
                    under = names[name] = Mask()
                todo.append((under, node))
            elif under is None:
                names[name] = HIDDEN
            else:
                under.opaque = True
        for name in directory.whiteouts or ():
            if name in names:
                names[name].opaque = True
            else:
                names[name] = HIDDEN
        mask.opaque = directory.opaque


class _Stacking:
    def __init__(self, root: Node, layer: LayerTree) -> None:
        self._root = root
        self._work = layer.work
        self._targets = {link: self._target(link) for link in layer.links}
        self._waiting: list[tuple[Node, bytes, Link]] = []
        self._through_links: list[tuple[LayerDirectory, _Path]] = []

    def _target(self, link: Link) -> Node | None:
        """What lower layers have for it, before this one changes anything."""
        node = find(self._root, link.path, self._work)
        if node is not None and node.children is not None:
            raise Malformed(f"a hard link points to {b'/'.join(link.path)!r}, which is a directory")
        return node

    def hide(self, layer: LayerTree) -> None:
        """Take away what whiteouts name, before anything new comes, so that no order counts."""
        for directory, prefix in layer.hiding.items():
            lower = self._below(layer.root, directory, tuple(prefix.split(b"/")[:-1]))
            if lower is None:
                continue
            if directory.opaque:
                lower.clear()
            for name in directory.whiteouts or ():
                lower.pop(name, None)

    def _below(
        self, upper: LayerDirectory, covering: LayerDirectory, path: _Path
    ) -> dict[bytes, Node] | None:
        """What is in the lower directory that `wanted`, at `path` of the layer, will be put on, if there is one."""
        lower: Node | None = self._root
        for length, name in enumerate(path, 1):
            above = upper.children.get(name)
            if not isinstance(above, LayerDirectory) or lower is None or lower.children is None:
                return None
            upper = above
            lower = lower.children.get(name)
            if lower is not None and stat.S_ISLNK(lower.mode) and upper.implied:
                end = self._descend(path[:length], make=False)
                lower = end and end[0]
        return None if upper is not covering or lower is None else lower.children

    def merge(self, upper: LayerDirectory, lower: Node, path: _Path) -> None:
        """Put `upper` and all in it on `lower`, the directory at `path`."""
        todo = [(upper, lower, path)]
        while todo:
            upper, lower, path = todo.pop()
            children = lower.children
            assert children is not None
            if not upper.implied:
                lower.mode, lower.uid, lower.gid = upper.mode, upper.uid, upper.gid
                lower.mtime, lower.xattrs = upper.mtime, upper.xattrs
            for name, node in upper.children.items():
                if isinstance(node, LayerDirectory):
                    below = self._directory(node, children.get(name), (*path, name))
                    if below is not None:
                        children[name] = below
                        todo.append((node, below, (*path, name)))
                elif isinstance(node, Link):
                    target = self._targets[node]
                    if target is None:
                        self._waiting.append((lower, name, node))
                    else:
                        children[name] = target
                else:
                    children[name] = node

    def _directory(self, upper: LayerDirectory, below: Node | None, path: _Path) -> Node | None:
        """The directory that `upper` is put on: the existing one, or a new one. None if it goes elsewhere, or
        nowhere."""
        if below is not None and below.children is not None:
            return below
        if upper.implied and below is not None and stat.S_ISLNK(below.mode):
            self._through_links.append((upper, path))
            return None
        if upper.ghost:
            return None
        return Node(stat.S_IFDIR | 0o755)

    def follow_links(self) -> None:
        """Merge the directories that lie behind symlinks of lower layers, after all else, so that no order counts."""
        while self._through_links:
            upper, path = self._through_links.pop()
            end = self._descend(path, make=not upper.ghost)
            if end is not None:
                self.merge(upper, *end)

    def _descend(self, path: _Path, *, make: bool) -> tuple[Node, _Path] | None:
        def enter(trail: Trail[Node], part: bytes) -> Node | bytes | None:
            children = trail[-1][1].children
            assert children is not None
            node = children.get(part)
            if node is not None and stat.S_ISLNK(node.mode):
                return node.target
            if node is None or node.children is None:
                if not make:
                    return None
                node = children[part] = Node(stat.S_IFDIR | 0o755)
            return node

        try:
            trail = follow(self._root, path, enter, self._work.spend)
        except TooManyLinks:
            raise Malformed(
                f"{b'/'.join(path)!r} leads through more than {MOST_LINKS} symlinks, "
                f"or {MOST_LINK_BYTES} bytes of them, of lower layers"
            ) from None
        return None if trail is None else (trail[-1][1], tuple(name for name, _ in trail[1:]))

    def finish_links(self) -> None:
        """Hard links to nothing below: what this layer has by now, by a later entry, will do."""
        for directory, name, link in self._waiting:
            target = find(self._root, link.path, self._work)
            if target is None or target.children is not None:
                raise Malformed(
                    f"a hard link points to {b'/'.join(link.path)!r}, which is in neither this layer nor a lower one"
                )
            assert directory.children is not None
            directory.children[name] = target


def stack(root: Node, layer: LayerTree) -> None:
    """Put `layer` on the tree at `root`. Raises Malformed."""
    stacking = _Stacking(root, layer)
    stacking.hide(layer)
    stacking.merge(layer.root, root, ())
    stacking.follow_links()
    stacking.finish_links()

"""The tree of one layer: its entries applied in their order, the last of a name wins.

What a layer says about those below it stays beside its directories until the layers are stacked
(dibo.images.layers.flatten):
whiteouts, opaqueness (OCI image specification, layer.md, "Whiteouts"), directories that no entry describes but that
others lie in, and hard links to files of lower layers.

A parent that is a symlink leads where it would lead a process whose root this tree is; what is missing on the way is
implied. Whatever else stands where a directory is needed gives way to it.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from typing import Final

from dibo.formats.paths import MOST_LINK_BYTES, MOST_LINKS, TooManyLinks, Trail, follow
from dibo.images.layers.limits import Limits
from dibo.images.layers.tar_header import Malformed
from dibo.tree.node import Node
from dibo.tree.query import lookup

WHITEOUT: Final = b".wh."
OPAQUE: Final = b".wh..wh..opq"
AUFS: Final = b".wh..wh."
"""Begins what aufs keeps for itself, but for the opaque marker; `.wh..wh.plnk` holds what hard links point to."""


class LayerDirectory(Node):
    """A directory of a layer, and what the layer says about the same directory below."""

    __slots__ = ("ghost", "implied", "opaque", "whiteouts")

    children: dict[bytes, Node]

    def __init__(self, *, ghost: bool = False) -> None:
        super().__init__(stat.S_IFDIR | 0o755)
        self.implied = True
        """No entry describes it: attributes come from below."""
        self.ghost = ghost
        """Nothing but whiteouts is in it: it makes no directory where there is none."""
        self.opaque = False
        self.whiteouts: set[bytes] | None = None


class Link(Node):
    """A hard link to what a lower layer has under `path`; takes that node's place when layers are stacked."""

    __slots__ = ("path",)

    def __init__(self, path: tuple[bytes, ...]) -> None:
        super().__init__(0)
        self.path = path


class Mask:
    """What the layers above hide of a directory: the names in it, with what is hidden of directories among them."""

    __slots__ = ("names", "opaque")

    def __init__(self, *, opaque: bool = False) -> None:
        self.names: dict[bytes, Mask] = {}
        self.opaque = opaque
        """All of it."""


HIDDEN: Final = Mask(opaque=True)


class Place:
    """A directory that entries lie in."""

    __slots__ = ("directory", "mask", "prefix")

    def __init__(self, directory: LayerDirectory, mask: Mask | None, prefix: bytes) -> None:
        self.directory = directory
        self.mask = mask
        self.prefix = prefix
        """Its path, with a slash at the end; nothing for the root."""


def parts_of(path: bytes) -> tuple[bytes, ...]:
    """Names on the way, as Go's path.Clean has them: leading, double and trailing slashes and `.` say nothing, `..`
    takes the name before it away. Raises Malformed where it leads out of the root."""
    parts = tuple(part for part in path.split(b"/") if part not in (b"", b"."))
    if b".." not in parts:
        return parts
    cleaned: list[bytes] = []
    for part in parts:
        if part != b"..":
            cleaned.append(part)
        elif cleaned:
            cleaned.pop()
        else:
            raise Malformed("its name or what it links to leads out of the root by a `..`")
    return tuple(cleaned)


class LinkWork:
    """Bounds what symlinks cost on the ways of all entries of an image together."""

    __slots__ = ("_left", "_limit")

    def __init__(self, limits: Limits) -> None:
        self._left = self._limit = limits.link_names

    def spend(self, names: int) -> None:
        """Links add so many names to a way. Raises Malformed."""
        self._left -= names
        if self._left < 0:
            raise Malformed(
                f"symlinks on the ways of all entries so far add more than {self._limit} names to them"
            )


class LayerTree:
    """The tree of the layer at hand. Raises Malformed."""

    def __init__(self, mask: Mask | None, limits: Limits, work: LinkWork) -> None:
        self.root = LayerDirectory()
        self.links: list[Link] = []
        self.hiding: dict[LayerDirectory, bytes] = {}
        """Directories with whiteouts, or opaque: their paths, with a slash at the end."""
        self.aufs: dict[bytes, Node] = {}
        """What aufs keeps beside the tree, by path: in no tree, but hard links may point to it."""
        self.goes_up = False
        """Whether a name or a hard link has a `..`."""
        self.work = work
        self._limits = limits
        self._mask = mask
        self._places: dict[bytes, Place] = {}

    def _parts(self, path: bytes) -> tuple[bytes, ...]:
        if len(path) > self._limits.path_bytes:
            raise Malformed(f"its path, or what it links to, is longer than {self._limits.path_bytes} bytes")
        self.goes_up = self.goes_up or b".." in path.split(b"/")
        return parts_of(path)

    # Where entries go

    def place(self, path: bytes) -> tuple[Place, bytes] | None:
        """The directory and the name of an entry; None for the root itself."""
        path = path.rstrip(b"/") if path.endswith(b"/") else path
        parent, _, name = path.rpartition(b"/")
        if name in (b"", b".", b".."):
            parts = self._parts(path)
            if not parts:
                return None
            parent, name = b"/".join(parts[:-1]), parts[-1]
        if len(name) > self._limits.name_bytes:
            raise Malformed(f"its name has {len(name)} bytes; the limit is {self._limits.name_bytes}")
        ghost = name.startswith(WHITEOUT)
        place = self._places.get(parent)
        if place is None or (place.directory.ghost and not ghost):
            place = self._descend(self._parts(parent), ghost=ghost)
            if not ghost:
                self._places[parent] = place
        if len(place.prefix) + len(name) > self._limits.path_bytes:
            raise Malformed(f"its path is longer than {self._limits.path_bytes} bytes")
        return place, name

    def _descend(self, parts: Sequence[bytes], *, ghost: bool) -> Place:
        """Walk `parts` from the root as a process would, and make what is missing."""

        def enter(trail: Trail[Place], part: bytes) -> Place | bytes:
            here = trail[-1][1]
            if part.startswith(WHITEOUT):
                raise Malformed("it lies in a whiteout")
            node = here.directory.children.get(part)
            if node is not None and stat.S_ISLNK(node.mode):
                return node.target
            if not isinstance(node, LayerDirectory):
                if len(part) > self._limits.name_bytes:
                    raise Malformed(
                        f"a name in it has {len(part)} bytes; the limit is {self._limits.name_bytes}"
                    )
                if node is not None and ghost:
                    return Place(LayerDirectory(ghost=True), None, b"")  # nothing below is left to hide
                if node is not None:
                    self.hide(here, part)  # a directory that was there before is gone, and all in it
                node = here.directory.children[part] = LayerDirectory(ghost=ghost)
            elif node.ghost and not ghost:
                node.ghost = False
            if len(trail) > self._limits.depth:
                raise Malformed(f"it lies deeper than {self._limits.depth} directories")
            return Place(node, _below(here.mask, part), here.prefix + part + b"/")

        try:
            trail = follow(Place(self.root, self._mask, b""), parts, enter, self.work.spend)
        except TooManyLinks:
            raise Malformed(
                f"more than {MOST_LINKS} symlinks, or {MOST_LINK_BYTES} bytes of them, are on its way"
            ) from None
        assert trail is not None, "what is missing was made"
        return trail[-1][1]

    # What happens there

    def whiteout(self, place: Place, name: bytes) -> None:
        """Take in a name that begins with `.wh.`."""
        if name == OPAQUE:
            place.directory.opaque = True
            self.hiding[place.directory] = place.prefix
        elif name in (b".wh.", b".wh..", b".wh..."):
            raise Malformed("it is a whiteout of nothing that has a name")
        else:
            self.hide(place, name[len(WHITEOUT) :])

    def hide(self, place: Place, name: bytes) -> None:
        """A whiteout: `name` of lower layers is gone."""
        if place.directory.whiteouts is None:
            place.directory.whiteouts = set()
            self.hiding[place.directory] = place.prefix
        place.directory.whiteouts.add(name)

    def put(self, place: Place, name: bytes, node: Node) -> None:
        """`node` stands there from now on, whatever stood there before."""
        children = place.directory.children
        old = children.get(name)
        if old is not None and (old.children is not None or stat.S_ISLNK(old.mode)):
            self._places.clear()
        children[name] = node

    def directory(self, location: tuple[Place, bytes] | None) -> LayerDirectory:
        """The directory that an entry describes: the one that is there, or a new one."""
        if location is None:
            self.root.implied = False
            return self.root
        place, name = location
        node = place.directory.children.get(name)
        if not isinstance(node, LayerDirectory):
            if place.prefix.count(b"/") >= self._limits.depth:
                raise Malformed(f"it lies deeper than {self._limits.depth} directories")
            if node is not None:
                self.hide(place, name)  # as above
            node = LayerDirectory()
            self.put(place, name, node)
        node.implied = node.ghost = False
        return node

    def link(self, place: Place, name: bytes, target: bytes) -> None:
        """A hard link: to what this layer has there, or else to what a lower one will have."""
        parts = self._parts(target)
        if not parts:
            raise Malformed("it is a hard link to the root")
        node = self.aufs.get(b"/".join(parts)) or find(self.root, parts, self.work)
        if node is None or (isinstance(node, LayerDirectory) and node.ghost):
            node = Link(parts)
            self.links.append(node)
        elif node.children is not None:
            raise Malformed(f"it is a hard link to {target!r}, which is a directory")
        self.put(place, name, node)


def find(root: Node, parts: Sequence[bytes], work: LinkWork) -> Node | None:
    """What `parts` lead to in a tree, symlinks followed but for the last part. None where they lead nowhere.
    Raises Malformed where links cost too much."""
    try:
        trail = follow(root, parts[:-1], lookup, work.spend)
    except TooManyLinks:
        return None
    return (trail[-1][1].children or {}).get(parts[-1]) if trail is not None else None


def _below(mask: Mask | None, name: bytes) -> Mask | None:
    if mask is None:
        return None
    return HIDDEN if mask.opaque else mask.names.get(name)

"""From layers to a tree, in one pass from the highest to the lowest.

    for each layer:  Stream ──► Archive ──► LayerTree      bytes of files that nothing hides ──► Contents
    then:            stack all trees from the lowest up ──► one tree of Nodes
                     release what was written and is in no tree after all
                     read again what was skipped and is in the tree after all

The last is rare: a file that a higher layer replaces, whose other name, a hard link, it leaves alone. It costs one
more reading of that layer; the alternative is to write all that is hidden, every time.
"""

from __future__ import annotations

import contextlib
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dibo.errors import LayerError
from dibo.images.image import Layer, Reader
from dibo.images.layers import xattrs
from dibo.images.layers.change_digest import LayerListener, copy
from dibo.images.layers.flatten import cover, stack
from dibo.images.layers.in_memory_files import Keep, Kept
from dibo.images.layers.layer_tree import AUFS, OPAQUE, WHITEOUT, LayerTree, LinkWork, Mask
from dibo.images.layers.limits import Limits
from dibo.images.layers.split_by_mount import Divided, Skipped
from dibo.images.layers.stream import Buffers
from dibo.images.layers.tar_entry import EntryReader, TarEntry
from dibo.images.layers.tar_header import Malformed
from dibo.images.layers.tree_stats import Survey
from dibo.images.layers.unpacked import LayerArchive, LayerStream, archive_of, open_layer
from dibo.system.profiling import trace as profiling
from dibo.tree.node import Buffer, Contents, Node

_TYPES: Final = {
    b"0": stat.S_IFREG,
    b"2": stat.S_IFLNK | 0o777,
    b"3": stat.S_IFCHR,
    b"4": stat.S_IFBLK,
    b"6": stat.S_IFIFO,
}
_ATTRIBUTE: Final = 128
"""Bytes that an extended attribute takes in memory, beside its name and its value."""
TURN: Final = 0.0005
"""Seconds that a thread runs Python while others wait for their turn, where threads read layers."""
_SECOND: Final = 1_000_000_000
_MAJORS: Final = 1 << 12
_MINORS: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A root file system. The bytes of its files are where the Contents put them."""

    root: Node
    entries: int
    """Names in it."""
    inodes: int
    """As entries, hard links counted once."""
    bytes: int
    """Of all files, with their holes, hard links counted once."""
    warnings: tuple[str, ...]
    """Warnings for the user, each once."""
    digests: tuple[str, ...] = ()
    """Of what each layer changes, the lowest first (dibo.images.layers.change_digest)."""
    beside: Mapping[str, Buffer] = field(default_factory=dict)
    """Files that steps left for the directory of the image; the tree has them no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How layers are read."""

    limits: Limits = Limits()  # noqa: RUF009  frozen
    keep: Keep = ()
    """Files whose bytes are kept in Node.data as well: by prefixes of their paths, without a leading slash, or by a
    function of the path."""
    clamp: int | None = None
    """In seconds since 1970: later times become it."""
    progress: Callable[[int], None] | None = None
    """Gets the number of bytes, as stored, that have been read."""
    ledger: LayerListener | None = None
    """Learns what each layer changes."""


_DEFAULT: Final = LoadOptions()


def load(layers: Sequence[Layer], contents: Contents, options: LoadOptions = _DEFAULT) -> Tree:
    """Flatten `layers`, from the lowest to the highest, and send the bytes of their files to `contents`.

    Raises VerificationFailed where bytes are not what digests say, LayerError for what is wrong with what they say, and
    what `contents` raise.
    """
    limit = options.limits.layers
    if len(layers) > limit:
        raise LayerError(f"the image has {len(layers)} layers; the limit is {limit}")
    # A thread that comes back from C waits so long for one that runs Python; the default, 5 ms, is five chunks.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(min(interval, TURN))
    try:
        return _Loading(layers, contents, options).run()
    finally:
        sys.setswitchinterval(interval)


def load_tar(stream: Reader, contents: Contents, options: LoadOptions = _DEFAULT) -> Tree:
    """As `load`, of a whole root that comes as one tar without a digest, from a trusted origin."""
    layer = Layer(open=lambda: contextlib.nullcontext(stream), digest=None, size=None, diff_id=None)
    return load((layer,), contents, options)


class _Loading:
    def __init__(self, layers: Sequence[Layer], contents: Contents, options: LoadOptions) -> None:
        self._ledger = options.ledger
        self._layers = layers
        self._contents = contents
        self._divided = contents if isinstance(contents, Divided) else None
        self._origins: list[tuple[int, int]] = []
        """Layer and entry of each of `_written`, where files may have to be read again."""
        self._limits = options.limits
        self._kept = Kept(options.keep, options.limits)
        self._clamp = None if options.clamp is None else options.clamp * _SECOND
        self._progress = options.progress
        self._buffers = Buffers()
        self._mask: Mask | None = None
        self._work = LinkWork(options.limits)
        self._wanted: set[bytes] = set()
        """Paths that hard links of higher layers point to."""
        self._written: list[Node] = []
        self._entries = 0
        self._held_bytes = 0
        self._plain_bytes = 0
        self._stored_bytes = 0
        self._warnings: dict[str, None] = {}
        self._dropped: set[bytes] = set()

    def run(self) -> Tree:
        trees = []
        for index in reversed(range(len(self._layers))):
            with profiling.span(f"layer {index + 1}"):
                tree = self._read(index)
            trees.append(tree)
            if index:
                self._mask = self._mask or Mask()
                cover(self._mask, tree.root)
                self._wanted.update(b"/".join(link.path) for link in tree.links)
        root = Node(stat.S_IFDIR | 0o755)
        for layer, tree in zip(self._layers, reversed(trees), strict=True):
            try:
                if self._ledger is not None:
                    self._ledger.close(tree, root)
                stack(root, tree)
            except Malformed as error:
                raise LayerError(f"{_name(layer)}: {error}") from error
        del trees
        with profiling.span("settle files"):
            return self._finish(root)

    # One layer

    def _open(self, index: int) -> LayerStream:
        return open_layer(
            self._layers[index],
            limits=self._limits,
            limit=self._limits.image_bytes - self._plain_bytes,
            buffers=self._buffers,
            before_reuse=self._contents.flush,
        )

    def _read(self, index: int) -> LayerTree:
        tree = LayerTree(self._mask, self._limits, self._work)
        with self._open(index) as stream:
            archive = archive_of(stream, self._limits, self._stored_bytes, self._progress)
            try:
                number = 0
                while (entry := archive.next()) is not None:
                    number += 1
                    if self._entries + number + archive.global_headers > self._limits.entries:
                        raise Malformed(f"the image has more than {self._limits.entries} entries")
                    self._apply(entry, archive, tree, index, number)
            except Malformed as error:
                stream.judge()
                raise _error(self._layers[index], archive.name, error) from error
            self._entries += number + archive.global_headers
            self._plain_bytes += stream.plain_bytes
            self._stored_bytes += stream.stored_bytes
            self._note(stream, archive, tree)
        return tree

    def _note(self, stream: LayerStream, archive: LayerArchive, tree: LayerTree) -> None:
        for warning in stream.warnings:
            self._warnings[warning] = None
        for oddity in sorted(archive.oddities):
            self._warnings[f"{stream.name} {oddity}"] = None
        if tree.goes_up:
            self._warnings[f"{stream.name} has names with `..`: `a/../b` is taken as `b`"] = None
        if tree.aufs:
            self._warnings[f"{stream.name} has files that aufs kept for itself: they are left out"] = None

    def _apply(self, entry: TarEntry, archive: EntryReader, tree: LayerTree, layer: int, number: int) -> None:
        path = entry.name
        if not path:
            raise Malformed("it has no name")
        if WHITEOUT in path and self._whiteout(entry, archive, tree, (layer, number)):
            return
        location = tree.place(path)
        kind = entry.kind
        if kind == b"5":
            directory = tree.directory(location)
            directory.mode = stat.S_IFDIR | entry.mode
            directory.uid, directory.gid = entry.uid, entry.gid
            self._describe(directory, entry)
            return
        if location is None:
            raise Malformed("it is the root of the tree, and no directory")
        place, name = location
        if kind == b"1":
            tree.link(place, name, entry.link)
            return
        if kind == b"3" and entry.device == (0, 0):
            tree.hide(place, name)  # the way of overlayfs
            return
        node = self._node(entry)
        if kind == b"0" and entry.size:
            mask = place.mask
            full = place.prefix + name
            if mask is not None and (mask.opaque or name in mask.names) and full not in self._wanted:
                node.content = Skipped(layer, number, full)
                copy(self._ledger, node, entry, archive)
            else:
                self._copy(node, full, entry, archive, (layer, number))
        elif kind == b"0" and self._kept.wants(place.prefix + name):
            node.data = b""
        tree.put(place, name, node)

    def _whiteout(
        self, entry: TarEntry, archive: EntryReader, tree: LayerTree, origin: tuple[int, int]
    ) -> bool:
        path = entry.name.rstrip(b"/")
        name = path.rpartition(b"/")[2]
        if (path.startswith(AUFS) or b"/" + AUFS in path) and name != OPAQUE:
            node = self._node(entry) if entry.kind not in b"15" else Node(0)
            if entry.kind == b"0" and entry.size:
                self._copy(node, b"", entry, archive, origin)
            tree.aufs[b"/".join(part for part in path.split(b"/") if part not in (b"", b"."))] = node
            return True
        if not name.startswith(WHITEOUT):
            return False
        location = tree.place(path)
        assert location is not None
        tree.whiteout(*location)
        return True

    def _node(self, entry: TarEntry) -> Node:
        kind = entry.kind
        node = Node(_TYPES[kind] | (entry.mode if kind != b"2" else 0), entry.uid, entry.gid)
        self._describe(node, entry)
        if kind == b"0":
            node.size = entry.size
        elif kind == b"2":
            if not 0 < len(entry.link) < self._limits.path_bytes:
                raise Malformed(f"it is a symlink to a path of {len(entry.link)} bytes")
            self._hold(len(entry.link))
            node.target = entry.link
        elif kind != b"6":
            major, minor = entry.device
            if not (0 <= major < _MAJORS and 0 <= minor < _MINORS):
                raise Malformed(f"it is the device {major}:{minor}; Linux has 12 and 20 bits for these")
            node.device = entry.device
        return node

    def _describe(self, node: Node, entry: TarEntry) -> None:
        node.mtime = entry.mtime if self._clamp is None else min(entry.mtime, self._clamp)
        node.xattrs = None
        if entry.records:
            attributes = xattrs.from_records(entry.records, self._dropped) or {}
            node.mode = xattrs.settle_acl(node.mode, attributes)
            size = sum(map(len, attributes)) + sum(map(len, attributes.values()))
            if size > self._limits.xattr_bytes:
                raise Malformed(f"its extended attributes are larger than {self._limits.xattr_bytes} bytes")
            self._hold(size + _ATTRIBUTE * len(attributes))
            node.xattrs = attributes or None

    def _hold(self, size: int) -> None:
        self._held_bytes += size
        if self._held_bytes > (limit := self._limits.held_bytes):
            raise Malformed(
                f"the image has more than {limit} bytes of extended attributes and targets of symlinks"
            )

    def _copy(
        self,
        node: Node,
        path: bytes,
        entry: TarEntry,
        archive: EntryReader,
        origin: tuple[int, int],
        place: bytes | None = None,
    ) -> None:
        if self._divided is not None:
            self._divided.towards(path if place is None else place)
            self._origins.append(origin)
        kept: list[bytes] | None = None
        if self._kept.wants(path):
            self._kept.reserve(entry.size)
            kept = []
        node.content = copy(self._ledger, node, entry, archive, self._contents, kept)
        self._written.append(node)
        if kept is not None:
            node.data = b"".join(kept)

    # All of them

    def _finish(self, root: Node) -> Tree:
        survey = Survey(root, self._limits)
        for node in self._written:
            if node not in survey.files:
                self._contents.release(node.content)
                node.content = None
        files = survey.files
        if self._divided is not None:
            files = {**files, **dict.fromkeys(self._settle(self._divided, root))}
        missing: dict[int, dict[int, list[Node]]] = {}
        for node in files:
            if isinstance(node.content, Skipped):
                missing.setdefault(node.content.layer, {}).setdefault(node.content.entry, []).append(node)
        for index, waiting in missing.items():
            while waiting:  # an entry has bytes for one node each time it passes
                self._read_again(index, {entry: nodes.pop() for entry, nodes in waiting.items()})
                waiting = {entry: nodes for entry, nodes in waiting.items() if nodes}
        self._contents.flush()
        if self._dropped:
            names = b", ".join(sorted(self._dropped)[:8]).decode(errors="backslashreplace")
            self._warnings[f"extended attributes were dropped: {names}"] = None
        return Tree(
            root=root,
            entries=survey.entries,
            inodes=survey.inodes,
            bytes=sum(node.size for node in survey.files),
            warnings=tuple(self._warnings),
        )

    def _settle(self, divided: Divided, root: Node) -> list[Node]:
        """Send files that are on the wrong file system to be read again; copies that have come into the tree."""
        wrong = list(divided.settle(root))
        if not wrong:
            return []
        origins = dict(zip(self._written, self._origins, strict=True))
        skipped = {}
        for node, place, known in wrong:
            if isinstance(known.content, Skipped):
                again = Skipped(known.content.layer, known.content.entry, known.content.path)
            else:
                again = Skipped(*origins[known], b"")
            again.place = place
            skipped[node] = again
        copies = []
        for node, _, known in wrong:
            if node is not known:
                copies.append(node)
            elif not isinstance(node.content, Skipped):
                divided.release(node.content)
            node.content = skipped[node]
        if copies:
            files = "1 file has" if len(copies) == 1 else f"{len(copies)} files have"
            self._warnings[f"{files} names on two file systems: each got a copy"] = None
        return copies

    def _read_again(self, index: int, nodes: dict[int, Node]) -> None:
        with self._open(index) as stream:
            archive = archive_of(stream, self._limits, 0, None)
            number = 0
            try:
                while (entry := archive.next()) is not None:
                    number += 1
                    node = nodes.get(number)
                    if node is not None and isinstance(skipped := node.content, Skipped):
                        self._copy(node, skipped.path, entry, archive, (index, number), skipped.place)
            except Malformed as error:
                stream.judge()
                raise _error(self._layers[index], archive.name, error) from error


def _name(layer: Layer) -> str:
    digest = layer.digest or layer.diff_id
    return f"layer {digest}" if digest else "the archive"


def _error(layer: Layer, entry: bytes, error: Malformed) -> LayerError:
    layer_name = (
        f"entry {entry.decode(errors='backslashreplace')!r} of {_name(layer)}" if entry else _name(layer)
    )
    return LayerError(
        f"{layer_name}: {error}", hint="the layer is damaged, or was made to do harm: build the image again"
    )

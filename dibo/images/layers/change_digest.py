"""What each layer of an image changes, written in one way only, and the digest of that.

Engines write the same change in different ways: rootless overlay leaves attributes of its own, docker marks each new
directory as opaque, some name owners and some do not. So the digests of their tars differ where the files do not. Here
a layer is what it makes of the tree below it: names that are gone, and names that are new or another thing than before.
Each is one line, a JSON array; the lines are sorted by path, and the digest is the sha256 of them all, each with a line
feed:

    ["etc/motd","file","644",0,0,1793491200000000000,{},13,"HEX"]
        mode, owner, group, mtime in nanoseconds, extended attributes in hexadecimal, size, sha256
    ["etc","directory","755",0,0,1793491200000000000,{}]
    ["bin/vi","symlink","777",0,0,1793491200000000000,{},"vim"]
    ["dev/null","character device","666",0,0,0,{},[1,3]]     also "block device"; "FIFO" has no numbers
    ["usr/bin/perl5","link","usr/bin/perl"]                          another name of a file of the tree
    ["etc/old","gone"]

What engines put into /run and /tmp of a tree that dibo built, and their marks, count as little as they do in a disk
(dibo.tree.query.tidy).
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from typing import Any, Final, Protocol

from dibo.images.layers.layer_tree import LayerDirectory, LayerTree, Link, find
from dibo.images.layers.tar_entry import EntryReader, TarEntry
from dibo.tree.node import TYPE_NAMES, Buffer, Contents, Node

_ENGINES: Final = (b"run/", b"tmp/", b".dockerenv")
_ZEROS: Final = bytes(1 << 16)
_encode: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode

Line = list[Any]


class LayerListener(Protocol):
    """Hears of layers while they are read."""

    hashes: bool
    """Whether `note` is called, which takes the time of a sha256 of all bytes."""

    def note(self, node: Node, digest: str) -> None:
        """The sha256 of the bytes of `node`, hexadecimal."""

    def close(self, layer: LayerTree, below: Node) -> None:
        """The layer is read; `below` is the tree of all below it, which it has not changed yet."""


class Ledger:
    """Hears what the files of layers hold while they are read, then what each layer is. `built`: by dibo."""

    hashes = True

    def __init__(self, *, built: bool) -> None:
        self.digests: list[str] = []
        """`sha256:…` of each layer that was closed, the lowest first."""
        self._built = built
        self._sums: dict[Node, str] = {}

    def note(self, node: Node, digest: str) -> None:
        """The sha256 of the bytes of `node`, hexadecimal."""
        self._sums[node] = digest

    def close(self, layer: LayerTree, below: Node) -> None:
        """The layer is read; `below` is the tree of all below it, which it has not changed yet."""
        digest = hashlib.sha256()
        for line in sorted(self._lines(layer, below), key=lambda line: (line[0], line[1])):
            digest.update(_encode(line).encode() + b"\n")
        self.digests.append(f"sha256:{digest.hexdigest()}")

    def _lines(self, layer: LayerTree, below: Node) -> Iterator[Line]:
        paths: dict[Node, list[bytes]] = {}
        todo: list[tuple[LayerDirectory, bytes, Node | None, bool]] = [(layer.root, b"", below, False)]
        while todo:
            upper, prefix, lower, hidden = todo.pop()
            under = (lower.children if lower is not None else None) or {}
            hidden = hidden or upper.opaque
            for name in under if hidden else upper.whiteouts or ():
                if name in under and name not in upper.children and self._counts(prefix + name):
                    yield [_text(prefix + name), "gone"]
            for name, node in upper.children.items():
                path = prefix + name
                if not self._counts(path):
                    continue
                was = under.get(name)
                if isinstance(node, LayerDirectory):
                    yield from self._directory(node, path, was)
                    if node.implied and was is not None and stat.S_ISLNK(was.mode):
                        was = find(below, path.split(b"/"), layer.work)
                    if was is not None and was.children is None:
                        was = None
                    todo.append((node, path + b"/", was, hidden or name in (upper.whiteouts or ())))
                elif isinstance(node, Link):
                    yield [_text(path), "link", _text(b"/".join(node.path))]
                else:
                    paths.setdefault(node, []).append(path)
                    if was is None or self._attributes(was) != self._attributes(node):
                        paths[node].append(b"")  # no path: the file is another one than before
        for node, names in paths.items():
            yield from self._file(node, sorted(name for name in names if name), changed=b"" in names)

    def _counts(self, path: bytes) -> bool:
        return not (self._built and path.startswith(_ENGINES))

    def _directory(self, node: LayerDirectory, path: bytes, was: Node | None) -> Iterator[Line]:
        is_there = was is not None and (was.children is not None or (node.implied and stat.S_ISLNK(was.mode)))
        if is_there and (node.implied or was is None or self._attributes(was) == self._attributes(node)):
            return
        if not node.ghost:
            yield [_text(path), *self._attributes(node)]

    def _file(self, node: Node, names: list[bytes], *, changed: bool) -> Iterator[Line]:
        """A file with several names in the layer is there because one of them changed."""
        if not changed and len(names) == 1:
            return
        yield [_text(names[0]), *self._attributes(node)]
        for name in names[1:]:
            yield [_text(name), "link", _text(names[0])]

    def _attributes(self, node: Node) -> Line:
        xattrs = {_text(name): value.hex() for name, value in (node.xattrs or {}).items()}
        kind = TYPE_NAMES[stat.S_IFMT(node.mode)]
        line: Line = [kind, f"{stat.S_IMODE(node.mode):o}", node.uid, node.gid, node.mtime, xattrs]
        if stat.S_ISREG(node.mode):
            line += [node.size, self._sums.get(node, "")]
        elif stat.S_ISLNK(node.mode):
            line.append(_text(node.target))
        elif stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode):
            line.append(list(node.device))
        return line


def copy(
    ledger: LayerListener | None,
    node: Node,
    entry: TarEntry,
    archive: EntryReader,
    contents: Contents | None = None,
    kept: list[bytes] | None = None,
) -> object:
    """As EntryReader.copy, to `contents`, or without them to nowhere. The `ledger`, where there is one, hears that the
    bytes of `entry` are those of `node`."""
    if ledger is not None and entry.digest:
        ledger.note(node, entry.digest)
    if ledger is None or entry.digest or not ledger.hashes:
        return archive.copy(entry, contents, kept) if contents is not None else None
    heard = HashedContents(contents)
    content = archive.copy(entry, heard, kept)
    ledger.note(node, heard.digest)
    return content


class HashedContents:
    """Contents of one file on their way to other Contents, or to nowhere."""

    def __init__(self, contents: Contents | None) -> None:
        self._contents = contents
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """sha256, hexadecimal."""
        return self._hash.hexdigest()

    def begin(self, size: int) -> object:
        return self._contents.begin(size) if self._contents is not None else None

    def write(self, data: Buffer) -> None:
        self._hash.update(data)
        if self._contents is not None:
            self._contents.write(data)

    def skip(self, size: int) -> None:
        for start in range(0, size, len(_ZEROS)):
            self._hash.update(memoryview(_ZEROS)[: size - start])
        if self._contents is not None:
            self._contents.skip(size)

    def flush(self) -> None:
        if self._contents is not None:
            self._contents.flush()

    def release(self, content: object) -> None:
        if self._contents is not None:
            self._contents.release(content)


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")

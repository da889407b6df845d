"""A finished tree as a tar: PAX (POSIX.1-2017, pax, "pax Interchange Format"), and the same bytes for the same tree.

Names in their order within each directory, the directory before what is in it; numeric owners; times as the tree has
them, but not later than `epoch`. The first name of an inode is the file, later ones are hard links to it. PAX records
are written only where the ustar block cannot say it: long names, large numbers, fractions of seconds, extended
attributes (SCHILY.xattr), ACLs (SCHILY.acl, as text), and sparse files (GNU format 1.0).
"""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterator
from typing import Final, Protocol

from dibo.images.layers import acl
from dibo.images.layers.tar_header import BLOCK, FIELDS, USTAR
from dibo.images.layers.tar_sparse import Map
from dibo.images.layers.xattrs import ACL_KEYWORDS, encode_keyword
from dibo.tree.node import Node

_KINDS: Final = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}
_SECOND: Final = 1_000_000_000
_OCTAL8: Final = 8**7
_OCTAL12: Final = 8**11
_NAME: Final = 100

Records = list[tuple[bytes, bytes]]


class Spooled(Protocol):
    """Where contents are read from (dibo.images.layers.spool.Spool)."""

    def map(self, content: object) -> Map | None: ...

    def read(self, content: object, offset: int = 0, size: int | None = None) -> Iterator[bytes]: ...


class TarOutput(Protocol):
    def write(self, data: bytes, /) -> object: ...


def write_tar(
    root: Node,
    spool: Spooled,
    out: TarOutput,
    *,
    epoch: int | None = None,
    without: Collection[bytes] = (),
) -> None:
    """Write the tree at `root`, whose contents are in `spool`, to `out`. Times after `epoch`, in seconds since 1970,
    become it. Directories whose paths, such as `./usr/`, are in `without` get no entry, what is in them does. Sockets
    are left out: no archive has them."""
    writer = _Writer(spool, out, None if epoch is None else epoch * _SECOND, shared(root))
    todo = [(b"./", root)]
    while todo:
        path, node = todo.pop()
        if path not in without:
            writer.entry(path, node)
        for name, child in sorted((node.children or {}).items(), reverse=True):
            todo.append((path + name + (b"/" if child.children is not None else b""), child))
    out.write(bytes(2 * BLOCK))


def shared(root: Node) -> set[Node]:
    """Nodes with several names."""
    seen: set[Node] = set()
    several: set[Node] = set()
    todo = [root]
    while todo:
        for child in (todo.pop().children or {}).values():
            if child.children is not None:
                todo.append(child)
            elif child in seen:
                several.add(child)
            else:
                seen.add(child)
    return several


Numbers = tuple[int, int, int, int, int]
"""Mode, uid, gid, size, mtime."""


class _Writer:
    def __init__(self, spool: Spooled, out: TarOutput, latest: int | None, shared: set[Node]) -> None:
        self._spool = spool
        self._out = out
        self._latest = latest
        self._shared = shared
        self._names: dict[Node, bytes] = {}

    def entry(self, path: bytes, node: Node) -> None:
        kind = _KINDS.get(stat.S_IFMT(node.mode))
        if kind is None:
            return
        first = self._names.get(node)
        if first is not None:
            self._head(path, b"1", node, link=first)
            return
        if node in self._shared:
            self._names[node] = path
        if kind != b"0" or node.content is None:
            self._head(path, kind, node, link=node.target)
            return
        holes = self._spool.map(node.content)
        if holes is None:
            self._head(path, kind, node, size=node.size)
            self._data(node, ((0, node.size),))
        else:
            self._sparse(path, node, holes)

    def _head(
        self,
        path: bytes,
        kind: bytes,
        node: Node,
        *,
        link: bytes = b"",
        size: int = 0,
        sparse: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        records: Records = [] if kind == b"1" else _attributes(node)
        name = b"./GNUSparseFile.0/" + path.rpartition(b"/")[2] if sparse else path
        if len(name) > _NAME:
            records.append((b"path", name))
        if len(link) > _NAME:
            records.append((b"linkpath", link))
        uid = _numeric(records, b"uid", node.uid, _OCTAL8)
        gid = _numeric(records, b"gid", node.gid, _OCTAL8)
        stored = _numeric(records, b"size", size, _OCTAL12)
        mtime = node.mtime if self._latest is None else min(node.mtime, self._latest)
        seconds, fraction = divmod(mtime, _SECOND)
        if fraction or not 0 <= seconds < _OCTAL12:
            records.append((b"mtime", decimal_seconds(mtime)))
            seconds = min(max(seconds, 0), _OCTAL12 - 1)
        records += sparse
        if records:
            self._extension(path, records)
        mode = stat.S_IMODE(node.mode)
        numbers = (mode, uid, gid, stored, seconds)
        self._out.write(block(name, kind, numbers, link=link, device=node.device))

    def _extension(self, path: bytes, records: Records) -> None:
        if not all(_is_utf8(value) for keyword, value in records if keyword in (b"path", b"linkpath")):
            records.insert(0, (b"hdrcharset", b"BINARY"))
        data = b"".join(record(*pair) for pair in records)
        parent, _, name = path.rstrip(b"/").rpartition(b"/")
        pax_name = (parent + b"/PaxHeaders/" + name)[:_NAME]
        self._out.write(block(pax_name, b"x", (0o644, 0, 0, len(data), 0)))
        self._out.write(data + bytes(-len(data) % BLOCK))

    def _sparse(self, path: bytes, node: Node, holes: Map) -> None:
        # The map ends where the file does, with an empty piece if there is a hole.
        pieces = holes if holes and sum(holes[-1]) == node.size else (*holes, (node.size, 0))
        lines = b"%d\n" % len(pieces) + b"".join(b"%d\n%d\n" % piece for piece in pieces)
        lines += bytes(-len(lines) % BLOCK)
        records = (
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", path),
            (b"GNU.sparse.realsize", b"%d" % node.size),
        )
        self._head(path, b"0", node, size=len(lines) + sum(length for _, length in holes), sparse=records)
        self._out.write(lines)
        self._data(node, holes)

    def _data(self, node: Node, pieces: Map) -> None:
        total = 0
        for offset, length in pieces:
            for data in self._spool.read(node.content, offset, length):
                self._out.write(data)
            total += length
        if total % BLOCK:
            self._out.write(bytes(-total % BLOCK))


def _attributes(node: Node) -> Records:
    records: Records = []
    for name, value in sorted((node.xattrs or {}).items()):
        keyword = ACL_KEYWORDS.get(name)
        text = acl.to_text(value) if keyword else None
        if keyword and text:
            records.append((keyword, text))
        else:
            records.append((b"SCHILY.xattr." + encode_keyword(name), value))
    return records


def _numeric(records: Records, keyword: bytes, value: int, limit: int) -> int:
    """The value for the block; where that has no room, a record says it."""
    if value < limit:
        return value
    records.append((keyword, b"%d" % value))
    return 0


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def decimal_seconds(nanoseconds: int) -> bytes:
    """A time of PAX, without needless digits."""
    whole, fraction = divmod(abs(nanoseconds), _SECOND)
    text = b"%d.%09d" % (whole, fraction)
    return (b"-" if nanoseconds < 0 else b"") + text.rstrip(b"0").rstrip(b".")


def record(keyword: bytes, value: bytes) -> bytes:
    """ "length keyword=value\\n", where the length counts its own digits."""
    rest = b" %s=%s\n" % (keyword, value)
    length = len(rest) + len(str(len(rest)))
    return b"%d" % (len(rest) + len(str(length))) + rest


def block(
    name: bytes, kind: bytes, numbers: Numbers, *, link: bytes = b"", device: tuple[int, int] = (0, 0)
) -> bytes:
    """A ustar header. What is too long for it is cut: a record says it whole."""
    mode, uid, gid, size, mtime = numbers
    fields = (
        name[:_NAME],
        b"%07o\0" % mode,
        b"%07o\0" % uid,
        b"%07o\0" % gid,
        b"%011o\0" % size,
        b"%011o\0" % mtime,
        b" " * 8,
        kind,
        link[:_NAME],
        USTAR,
        b"%07o\0" % device[0],
        b"%07o\0" % device[1],
        b"",
    )
    data = FIELDS.pack(*fields)
    return data[:148] + b"%06o\0 " % sum(data) + data[156:]

"""Layers made by hand, byte by byte, so that they can be wrong in every way; and a place for what comes out of them."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import stat
from collections.abc import Callable, Sequence

import zstandard

from dibo.images.image import Layer
from dibo.images.layers.in_memory_files import Keep
from dibo.images.layers.limits import Limits
from dibo.images.layers.load import LoadOptions, Tree, load
from dibo.tree.node import Buffer, Node

USTAR = b"ustar\x0000"
GNU = b"ustar  \x00"
V7 = bytes(8)
END = bytes(1024)


class MemorySink:
    """Contents in memory. Fails where files are not as long as they said, or buffers change before `flush`."""

    def __init__(self) -> None:
        self.files: list[bytearray] = []
        self.released: list[object] = []
        self.holes = 0
        self._wanted: list[int] = []
        self._lent: list[tuple[Buffer, bytes]] = []

    def begin(self, size: int) -> object:
        self._check()
        assert size > 0
        self.files.append(bytearray())
        self._wanted.append(size)
        return len(self.files) - 1

    def write(self, data: Buffer) -> None:
        self._lent.append((data, bytes(data)))
        self.files[-1] += data
        assert len(self.files[-1]) <= self._wanted[-1]

    def skip(self, size: int) -> None:
        assert size > 0
        self.holes += size
        self.files[-1] += bytes(size)

    def flush(self) -> None:
        for lent, data in self._lent:
            assert lent == data, "a buffer changed before flush"
        self._lent.clear()

    def release(self, content: object) -> None:
        assert isinstance(content, int)
        assert content not in self.released
        self.released.append(content)

    def _check(self) -> None:
        if self.files:
            assert len(self.files[-1]) == self._wanted[-1]

    def of(self, node: Node) -> bytes:
        if node.content is None:
            return b""
        assert isinstance(node.content, int)
        assert node.content not in self.released
        return bytes(self.files[node.content])


def header(
    name: bytes,
    kind: bytes = b"0",
    *,
    link: bytes = b"",
    size: int | bytes = 0,
    mode: int | bytes = 0o644,
    uid: int | bytes = 0,
    gid: int | bytes = 0,
    mtime: int | bytes = 0,
    device: tuple[int, int] = (0, 0),
    magic: bytes = USTAR,
    prefix: bytes = b"",
    tail: bytes | None = None,
    checksum: bytes | None = None,
) -> bytes:
    """One block. Numbers may be given as the bytes of their fields. `tail`: all from the prefix on."""

    def field(value: int | bytes, width: int) -> bytes:
        return value if isinstance(value, bytes) else b"%0*o\0" % (width - 1, value)

    block = b"".join(
        (
            name.ljust(100, b"\0"),
            field(mode, 8).ljust(8, b"\0"),
            field(uid, 8).ljust(8, b"\0"),
            field(gid, 8).ljust(8, b"\0"),
            field(size, 12).ljust(12, b"\0"),
            field(mtime, 12).ljust(12, b"\0"),
            b" " * 8,
            kind,
            link.ljust(100, b"\0"),
            magic,
            bytes(64),
            b"%07o\0" % device[0],
            b"%07o\0" % device[1],
            (prefix.ljust(155, b"\0") + bytes(12)) if tail is None else tail.ljust(167, b"\0"),
        )
    )
    assert len(block) == 512
    total = b"%06o\0 " % sum(block) if checksum is None else checksum
    return block[:148] + total + block[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def file(name: bytes, data: bytes = b"", **fields: object) -> bytes:
    return header(name, b"0", size=len(data), **fields) + padded(data)  # type: ignore[arg-type]


def directory(name: bytes, mode: int = 0o755, **fields: object) -> bytes:
    return header(name, b"5", mode=mode, **fields)  # type: ignore[arg-type]


def symlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", link=target, mode=0o777)


def hardlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"1", link=target)


def record(keyword: bytes, value: bytes) -> bytes:
    length = len(keyword) + len(value) + 3
    digits = len(str(length + len(str(length))))
    return b"%d %s=%s\n" % (length + digits, keyword, value)


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    data = b"".join(record(*pair) for pair in records)
    return header(b"PaxHeaders/x", kind, size=len(data)) + padded(data)


def long(kind: bytes, value: bytes) -> bytes:
    """GNU's long name (L) or long link (K)."""
    data = value + b"\0"
    return header(b"././@LongLink", kind, size=len(data), magic=GNU) + padded(data)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    "gzip": lambda data: gzip.compress(data, 1),
    "zstd": lambda data: zstandard.ZstdCompressor(level=1, write_checksum=True).compress(data),
}


def stored_layer(stored: bytes, tar: bytes | None = None, *, media_type: str = "") -> Layer:
    """A layer of these bytes, with the digests that they have; without a diffID where no tar is given."""
    return Layer(
        open=lambda: contextlib.nullcontext(io.BytesIO(stored)),
        digest=digest(stored),
        size=len(stored),
        diff_id=None if tar is None else digest(tar),
        media_type=media_type,
    )


def layer(*parts: bytes, compression: str = "", end: bytes = END) -> Layer:
    tar = b"".join(parts) + end
    return stored_layer(COMPRESS[compression](tar), tar)


def load_parts(
    *stack: Sequence[bytes], limits: Limits | None = None, keep: Keep = (), clamp: int | None = None
) -> tuple[Tree, MemorySink]:
    """The tree of layers, from the lowest up, each given as its entries."""
    memory = MemorySink()
    layers = [layer(*parts) for parts in stack]
    tree = load(layers, memory, LoadOptions(limits=limits or Limits(), keep=keep, clamp=clamp))
    return tree, memory


def find(tree: Tree, path: str) -> Node:
    """By names alone: no symlink is followed."""
    node = tree.root
    for part in path.encode().split(b"/"):
        assert node.children is not None, path
        node = node.children[part]
    return node


def listing(tree: Tree, memory: MemorySink) -> dict[str, str]:
    """All names, sorted, each with what is there: `dir`, `-> target`, the content of a file, a device."""
    found: dict[str, str] = {}
    todo = [("", tree.root)]
    while todo:
        path, node = todo.pop()
        for name, child in (node.children or {}).items():
            todo.append((f"{path}{name.decode(errors='backslashreplace')}", child))
            if child.children is not None:
                todo[-1] = (todo[-1][0] + "/", child)
        if not path:
            continue
        match stat.S_IFMT(node.mode):
            case stat.S_IFDIR:
                found[path.rstrip("/")] = "dir"
            case stat.S_IFLNK:
                found[path] = "-> " + node.target.decode(errors="backslashreplace")
            case stat.S_IFREG:
                found[path] = memory.of(node).decode(errors="backslashreplace")
            case stat.S_IFIFO:
                found[path] = "fifo"
            case _:
                found[path] = f"device {node.device[0]}:{node.device[1]}"
    return dict(sorted(found.items()))

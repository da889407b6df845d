"""Trees of every kind of file, and a disk in memory to write them to."""

from __future__ import annotations

import stat
import struct
from collections.abc import Sequence

from dibo.tree.node import Buffer, Contents, Node

SECOND = 10**9


class Disk:
    """A target that remembers what it is told, and tells when a byte is written twice. Holes take no memory."""

    BLOCK = 4096

    def __init__(self, size: int) -> None:
        self.size = size
        self.blocks: dict[int, bytearray] = {}
        self.written: list[tuple[int, int]] = []
        self.calls = 0

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        data = b"".join(buffers)
        assert offset >= 0
        assert offset + len(data) <= self.size, "written beyond the end"
        assert not any(start < offset + len(data) and offset < end for start, end in self.written), (
            "written twice"
        )
        self.calls += 1
        self.written.append((offset, offset + len(data)))
        self._put(offset, data)

    def _put(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            number, at = divmod(offset, self.BLOCK)
            part = view[: self.BLOCK - at]
            block = self.blocks.setdefault(number, bytearray(self.BLOCK))
            block[at : at + len(part)] = part
            offset += len(part)
            view = view[len(part) :]

    def discard(self, offset: int, size: int) -> None:
        self._put(offset, bytes(size))
        cut = []
        for start, end in self.written:
            cut += [(start, min(end, offset)), (max(start, offset + size), end)]
        self.written = [(start, end) for start, end in cut if start < end]

    def read(self, offset: int, size: int) -> bytes:
        first, at = divmod(offset, self.BLOCK)
        last = (offset + size - 1) // self.BLOCK
        empty = bytes(self.BLOCK)
        data = b"".join(self.blocks.get(number, empty) for number in range(first, last + 1))
        return data[at : at + size]

    def save(self, path: str) -> None:
        with open(path, "wb") as file:  # noqa: PTH123
            file.truncate(self.size)
            for number, block in self.blocks.items():
                file.seek(number * self.BLOCK)
                file.write(block)


def directory(mode: int = 0o755, mtime: int = 0, **children: Node) -> Node:
    node = Node(stat.S_IFDIR | mode, mtime=mtime)
    node.children = {name.encode(): child for name, child in children.items()}
    return node


def symlink(target: bytes) -> Node:
    node = Node(stat.S_IFLNK | 0o777)
    node.target = target
    return node


def device(kind: int, major: int, minor: int) -> Node:
    node = Node(kind | 0o600)
    node.device = (major, minor)
    return node


def file(contents: Contents, *pieces: bytes | int, mode: int = 0o644) -> Node:
    """A file of pieces: bytes, or holes of so many."""
    node = Node(stat.S_IFREG | mode)
    node.size = sum(piece if isinstance(piece, int) else len(piece) for piece in pieces)
    node.content = contents.begin(node.size)
    for piece in pieces:
        if isinstance(piece, int):
            contents.skip(piece)
        else:
            contents.write(piece)
    return node


def acl(*entries: tuple[int, int, int]) -> bytes:
    """As getxattr(2) gives an access control list: entries of tag, permissions, id."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ACL = acl(
    (1, 6, 0xFFFFFFFF),
    (2, 4, 100000),
    (4, 4, 0xFFFFFFFF),
    (8, 6, 7),
    (0x10, 6, 0xFFFFFFFF),
    (0x20, 4, 0xFFFFFFFF),
)
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)


def zoo(contents: Contents) -> Node:
    """One of everything."""
    root = directory(0o750, mtime=1_600_000_000 * SECOND + 123_456_789)
    root.uid, root.gid = 5, 70000
    children = root.children
    assert children is not None
    children[b"empty"] = Node(stat.S_IFREG | 0o600)
    children[b"small"] = file(contents, b"small\n")
    children[b"block"] = file(contents, b"b" * 4096)
    children[b"more"] = file(contents, b"m" * 4097)
    children[b"large"] = file(contents, bytes(range(256)) * 4096)
    children[b"pieces"] = file(contents, b"1" * 1000, b"2" * 5000, b"", b"3" * 3000, b"4")
    children[b"sparse"] = file(contents, 10000, b"middle", 100_000, b"end", 4096)
    children[b"hole"] = file(contents, 5_000_000_000)
    children[b"holes"] = file(contents, *(piece for _ in range(400) for piece in (4096, b"x" * 4096)))
    children[b"hard"] = children[b"small"]
    children[b"setuid"] = file(contents, b"#!", mode=0o6755)
    children[b"link"] = symlink(b"small")
    children[b"link59"] = symlink(b"a" * 59)
    children[b"link60"] = symlink(b"b" * 60)
    children[b"link4095"] = symlink(b"c" * 4095)
    children[b"null"] = device(stat.S_IFCHR, 1, 3)
    children[b"disk"] = device(stat.S_IFBLK, 259, 1048575)
    children[b"fifo"] = Node(stat.S_IFIFO | 0o600)
    children[b"socket"] = Node(stat.S_IFSOCK | 0o600)
    children[bytes(range(128, 256)) + b"\n\t\\"] = file(contents, b"odd")
    children[b"n" * 255] = file(contents, b"long")
    for name, mtime in (
        (b"1901", -(2**31) * SECOND),
        (b"1969", -1),
        (b"2100", 4_102_444_800 * SECOND + 999_999_999),
    ):
        children[name] = Node(stat.S_IFREG, mtime=mtime)
    owned = children[b"owned"] = file(contents, b"owned")
    owned.uid, owned.gid = 100_000, 2**32 - 2
    rights = children[b"rights"] = file(contents, b"rights")
    rights.xattrs = {b"security.capability": CAPABILITY, b"user.a": b"1", b"user.empty": b""}
    listed = children[b"acl"] = directory(0o770)
    listed.xattrs = {
        b"system.posix_acl_access": ACL,
        b"system.posix_acl_default": ACL,
        b"user.big": b"B" * 3500,
    }
    children[b"d"] = directory(e=directory(f=directory(g=file(contents, b"deep"))))
    children[b"many"] = directory()
    many = children[b"many"].children
    assert many is not None
    for number in range(1000):
        many[b"%d-%s" % (number, b"x" * (number % 60))] = (
            children[b"small"] if number % 7 == 0 else symlink(b"%d" % number)
        )
    return root


class Recorder:
    """Contents that also remembers what files are made of."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self.pieces: dict[int, list[tuple[int, bytes]]] = {}
        """By id(content): offset, bytes; holes are left out."""
        self._at = 0
        self._now: list[tuple[int, bytes]] = []

    def begin(self, size: int) -> object:
        content = self.contents.begin(size)
        self._at = 0
        self._now = self.pieces[id(content)] = []
        return content

    def write(self, data: Buffer) -> None:
        self.contents.write(data)
        self._now.append((self._at, bytes(data)))
        self._at += len(data)

    def skip(self, size: int) -> None:
        self.contents.skip(size)
        self._at += size

    def flush(self) -> None:
        self.contents.flush()

    def release(self, content: object) -> None:
        self.contents.release(content)

    def blocks(self, node: Node) -> dict[int, bytes]:
        """What the file's blocks are, by offset: those that are wholly in a hole are not there."""
        result: dict[int, bytearray] = {}
        for offset, data in self.pieces.get(id(node.content), []):
            view = memoryview(data)
            while view:
                first = offset // 4096 * 4096
                part = view[: first + 4096 - offset]
                result.setdefault(first, bytearray(4096))[offset - first : offset - first + len(part)] = part
                offset += len(part)
                view = view[len(part) :]
        return {offset: bytes(block) for offset, block in result.items()}

"""Reads erofs as its documentation says, with nothing of dibo's writer: every inode, checked, as a tree of Nodes.

The kernel's Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h. Not compressed, no chunks.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable

import google_crc32c

from dibo.tree.node import Node

BLOCK = 4096
PREFIXES = {
    1: b"user.",
    2: b"system.posix_acl_access",
    3: b"system.posix_acl_default",
    4: b"trusted.",
    6: b"security.",
}
KINDS = {
    1: stat.S_IFREG,
    2: stat.S_IFDIR,
    3: stat.S_IFCHR,
    4: stat.S_IFBLK,
    5: stat.S_IFIFO,
    6: stat.S_IFSOCK,
    7: stat.S_IFLNK,
}


class ErofsReader:
    """`read(offset, size)` gives bytes of the image."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read = read
        head = read(1024, BLOCK - 1024)
        magic, checksum, compatible, bits, slots, self._root, self.inodes = struct.unpack_from(
            "<IIIBBHQ", head
        )
        self.time, _, self.blocks, self._meta, self._shared = struct.unpack_from("<QIIII", head, 24)
        self.uuid, self.label = head[48:64], head[64:80].rstrip(b"\0")
        assert magic == 0xE0F5E1E2
        assert (bits, slots, compatible & 3) == (12, 0, 3)
        assert head[80:84] == bytes(4), "incompatible features"
        whole = head[:4] + bytes(4) + head[8:]
        assert checksum == google_crc32c.value(whole) ^ 0xFFFFFFFF
        self._nodes: dict[int, Node] = {}
        self._links: dict[int, int] = {}
        self._names: dict[int, int] = {}

    def tree(self) -> Node:
        """All of it. `content` of files is a dictionary of the blocks that are not zero, by offset."""
        root = self._node(self._root)
        todo = [(self._root, self._root)]
        while todo:
            number, parent = todo.pop()
            node = self._nodes[number]
            assert node.children is not None
            entries = self._entries(node)
            assert (entries.pop(b"."), entries.pop(b"..")) == ((number, 2), (parent, 2))
            self._names[number] = self._names.get(number, 0) + 2
            for name, (child, kind) in entries.items():
                is_new = child not in self._nodes
                below = node.children[name] = self._node(child)
                assert stat.S_IFMT(below.mode) == KINDS[kind], name
                if below.children is None:
                    self._names[child] = self._names.get(child, 0) + 1
                else:
                    assert is_new, "a directory with two names"
                    self._names[number] += 1
                    todo.append((child, number))
            node.content = None
        assert len(self._nodes) == self.inodes
        assert self._names == self._links
        return root

    def _node(self, number: int) -> Node:
        if number in self._nodes:
            return self._nodes[number]
        at = self._meta * BLOCK + 32 * number
        form, words, mode, _, size, place, _, uid, gid, seconds, fraction, links = struct.unpack(
            "<HHHHQIIIIqII", self._read(at, 48)
        )
        assert form in (1, 5), "not an inode of 64 bytes, plain or inline"
        node = self._nodes[number] = Node(mode, uid, gid, seconds * 10**9 + fraction)
        self._links[number] = links
        at += 64
        length = 12 + 4 * (words - 1) if words else 0
        node.xattrs = self._attributes(at, length) if words else None
        at += length
        node.size = size
        match stat.S_IFMT(mode):
            case stat.S_IFCHR | stat.S_IFBLK:
                node.device = ((place & 0xFFF00) >> 8, place & 0xFF | place >> 12 & 0xFFF00)
            case stat.S_IFLNK:
                node.target = b"".join(self._pieces(at, size, place, inline=form == 5).values())[:size]
            case stat.S_IFDIR:
                node.content = b"".join(self._pieces(at, size, place, inline=form == 5).values())[:size]
            case stat.S_IFREG if size:
                node.content = {
                    offset: block
                    for offset, block in self._pieces(at, size, place, inline=form == 5).items()
                    if any(block)
                }
        return node

    def _pieces(self, at: int, size: int, place: int, *, inline: bool) -> dict[int, bytes]:
        """Blocks by offset, each of 4096 bytes."""
        whole = size // BLOCK if inline else -(-size // BLOCK)
        pieces = {n * BLOCK: self._read((place + n) * BLOCK, BLOCK) for n in range(whole)}
        assert place + whole <= self.blocks
        if inline:
            tail = size - whole * BLOCK
            assert 0 < tail < BLOCK
            assert at // BLOCK == (at + tail - 1) // BLOCK, "inline data crosses a block"
            pieces[whole * BLOCK] = self._read(at, tail).ljust(BLOCK, b"\0")
        elif size % BLOCK:
            assert not any(pieces[(whole - 1) * BLOCK][size % BLOCK :]), "bytes behind the end of a file"
        return pieces

    def _entries(self, directory: Node) -> dict[bytes, tuple[int, int]]:
        data = directory.content
        assert isinstance(data, bytes)
        entries: dict[bytes, tuple[int, int]] = {}
        for start in range(0, len(data), BLOCK):
            block = data[start : start + BLOCK]
            count = struct.unpack_from("<H", block, 8)[0] // 12
            rows = [struct.unpack_from("<QHB", block, 12 * n) for n in range(count)]
            ends = [row[1] for row in rows[1:]] + [len(block)]
            for (number, offset, kind), end in zip(rows, ends, strict=True):
                name = block[offset:end].rstrip(b"\0")
                assert name not in entries
                entries[name] = (number, kind)
        assert list(entries) == sorted(entries), "names are not sorted"
        return entries

    def _attributes(self, at: int, length: int) -> dict[bytes, bytes]:
        body = self._read(at, length)
        count = body[4]
        numbers = struct.unpack_from(f"<{count}I", body, 12)
        found: dict[bytes, bytes] = {}
        position = 12 + 4 * count
        while position < length:
            position += self._attribute(body[position:], found)
        for number in numbers:
            self._attribute(self._read(self._shared * BLOCK + 4 * number, 4 + 255 + 65536), found)
        assert len(found) > 0
        return found

    @staticmethod
    def _attribute(data: bytes, found: dict[bytes, bytes]) -> int:
        length, prefix, size = struct.unpack_from("<BBH", data)
        found[PREFIXES[prefix] + data[4 : 4 + length]] = data[4 + length : 4 + length + size]
        return int(4 + length + size + -(length + size) % 4)

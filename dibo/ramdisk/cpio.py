"""The archive that the kernel unpacks into its first root: cpio, format newc.

    for each name    header of 110 characters: 070701, then 13 numbers of 8 hexadecimal digits
                     name, zero, zeros to a multiple of 4; contents, zeros to a multiple of 4
    at the end       an entry named TRAILER!!!, zeros to a multiple of 512

(Documentation/driver-api/early-userspace/buffer-format.rst of the kernel; cpio(5).) The same tree gives the same bytes:
names are sorted, a directory before what is in it, and inodes are numbered in that order. The contents of a hard
link come with its last name, where cpio(1) looks for them and where the kernel also takes them from.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from dibo.errors import RamdiskError
from dibo.formats import magic
from dibo.tree.node import Buffer, Node

_LARGEST: Final = 0xFFFFFFFF
_PAGE: Final = 512
Stream = Callable[[Node], Iterator[Buffer]]
"""The bytes of a file, in pieces."""


def archive(root: Node, contents: Stream, *, clamp: int) -> Iterator[Buffer]:
    """The archive of a tree, in pieces. Times later than `clamp`, in seconds since 1970, become it. Raises RamdiskError
    for what the format cannot say."""
    names = list(_walk(root, b""))
    last = {node: path for path, node in names}
    links: dict[Node, int] = {}
    for _, node in names:
        if node.children is None:
            links[node] = links.get(node, 0) + 1
    numbers: dict[Node, int] = {}
    size = 0
    for path, node in names:
        number = numbers.setdefault(node, len(numbers) + 1)
        count = _subdirectories(node) if node.children is not None else links[node]
        body = node.size if last[node] == path and stat.S_ISREG(node.mode) else 0
        if stat.S_ISLNK(node.mode):
            body = len(node.target)
        head = _header(path, node, number, count, body, clamp)
        yield head
        size += len(head) + _padded(body, 4)
        if stat.S_ISLNK(node.mode):
            yield node.target
        elif body:
            yield from _whole(path, node, contents)
        if body % 4:
            yield bytes(-body % 4)
    trailer = _header(b"TRAILER!!!", Node(0), 0, 1, 0, clamp)
    yield trailer + bytes(-(size + len(trailer)) % _PAGE)


def _walk(directory: Node, above: bytes) -> Iterator[tuple[bytes, Node]]:
    yield above or b".", directory
    for name, child in sorted((directory.children or {}).items()):
        path = above + b"/" + name if above else name
        if child.children is not None:
            yield from _walk(child, path)
        else:
            yield path, child


def _subdirectories(directory: Node) -> int:
    return 2 + sum(child.children is not None for child in (directory.children or {}).values())


def _header(path: bytes, node: Node, number: int, links: int, size: int, clamp: int) -> bytes:
    if size > _LARGEST:
        raise RamdiskError(
            f"{path.decode(errors='replace')} is larger than 4 GiB, the limit of a cpio archive"
        )
    major, minor = node.device
    numbers: Mapping[str, int] = {
        "ino": number,
        "mode": node.mode,
        "uid": node.uid,
        "gid": node.gid,
        "nlink": links,
        "mtime": min(max(0, node.mtime // 1_000_000_000), clamp, _LARGEST),
        "filesize": size,
        "devmajor": 0,
        "devminor": 0,
        "rdevmajor": major,
        "rdevminor": minor,
        "namesize": len(path) + 1,
        "check": 0,
    }
    fields = "".join(f"{value & _LARGEST:08x}" for value in numbers.values()).encode()
    head = magic.CPIO + fields + path + b"\0"
    return head + bytes(-len(head) % 4)


def _whole(path: bytes, node: Node, contents: Stream) -> Iterator[Buffer]:
    left = node.size
    for piece in contents(node):
        left -= len(piece)
        yield piece
    if left:
        raise RamdiskError(
            f"{path.decode(errors='replace')} has {node.size} bytes, but only {node.size - left} were read"
        )


def _padded(size: int, unit: int) -> int:
    return size + -size % unit

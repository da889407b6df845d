"""The archive, byte by byte where it matters; what cpio(1) makes of it is in tests/integration."""

from __future__ import annotations

import stat
from collections.abc import Iterator

import pytest

from dibo.errors import RamdiskError
from dibo.ramdisk.cpio import archive
from dibo.tree.node import Buffer, Node
from tests.support.node_trees import node, read, tree
from tests.support.readers.cpio_reader import Member, read_newc

CLAMP = 1_700_000_000


def contents(file: Node) -> Iterator[Buffer]:
    data = read(file)
    yield data[:3]
    yield memoryview(data)[3:]


def members(root: Node) -> list[Member]:
    data = b"".join(map(bytes, archive(root, contents, clamp=CLAMP)))
    assert len(data) % 512 == 0
    return read_newc(data)


def test_a_tree() -> None:
    file = node(b"0123456")
    file.uid, file.gid, file.mtime, file.mode = 1000, 70000, 5_999_999_999, stat.S_IFREG | 0o4755
    late = node(b"")
    late.mtime = (CLAMP + 100) * 10**9
    early = node("target")
    early.mtime = -5
    console = Node(stat.S_IFCHR | 0o600)
    console.device = (5, 1)
    root = tree({"b/file": file, "a": late, "b.x": early, "dev/console": console})
    assert members(root) == [
        Member(name=".", number=1, mode=stat.S_IFDIR | 0o755, links=4),
        Member(name="a", number=2, mode=stat.S_IFREG | 0o644, mtime=CLAMP),
        Member(name="b", number=3, mode=stat.S_IFDIR | 0o755, links=2),
        Member(
            name="b/file", number=4, mode=stat.S_IFREG | 0o4755, uid=1000, gid=70000, mtime=5, data=b"0123456"
        ),
        Member(name="b.x", number=5, mode=stat.S_IFLNK | 0o777, data=b"target"),
        Member(name="dev", number=6, mode=stat.S_IFDIR | 0o755, links=2),
        Member(name="dev/console", number=7, mode=stat.S_IFCHR | 0o600, device=(5, 1)),
    ]


def test_hard_links_have_one_number_and_their_bytes_last() -> None:
    shared = node(b"bytes")
    found = members(tree({"a": shared, "d/b": shared, "c": shared}))
    links = [member for member in found if member.links == 3 and member.name != "."]
    assert [(each.name, each.data) for each in links] == [("a", b""), ("c", b""), ("d/b", b"bytes")]
    assert len({each.number for each in links}) == 1


def test_the_end_is_where_the_kernel_looks() -> None:
    data = b"".join(map(bytes, archive(tree({}), contents, clamp=CLAMP)))
    assert data.startswith(b"070701") and b"TRAILER!!!\0" in data and len(data) == 512


def test_what_the_format_cannot_say() -> None:
    large = node(b"")
    large.size = 1 << 32
    with pytest.raises(RamdiskError, match=r"b/large is larger than 4 GiB"):
        members(tree({"b/large": large}))


def test_bytes_that_are_not_there() -> None:
    short = node(b"1234")
    short.size = 5
    with pytest.raises(RamdiskError, match=r"short has 5 bytes, but only 4 were read"):
        members(tree({"short": short}))

"""The list that mkfs.xfs fills a file system from: what it says, and what it cannot say."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from dibo.disk.programs.mkfs import losses, proto
from dibo.disk.programs.numbered_files import Numbered
from dibo.tree.node import Node
from tests.support.disks.memory_disk import device, directory, file, symlink


def test_the_list(tmp_path: Path) -> None:
    contents = Numbered(tmp_path)
    top = directory(0o750, link=symlink(b"../x"), null=device(stat.S_IFCHR, 1, 3), below=directory(0o2755))
    top.uid, top.gid = 5, 70000
    assert top.children is not None
    top.children[b"setuid"] = file(contents, b"ab", 3, b"c", mode=0o4711)
    top.children[b"empty"] = Node(stat.S_IFREG | 0o600)
    contents.close()
    assert list(proto(top)) == [
        "/",
        "0 0",
        "d--750 5 70000",
        "link l--777 0 0 ../x",
        "null c--600 0 0 1 3",
        "below d-g755 0 0",
        "$",
        f"setuid -u-711 0 0 {tmp_path / '0'}",
        "empty ---600 0 0 /dev/null",
        "$",
    ]
    assert (tmp_path / "0").read_bytes() == b"ab\0\0\0c"
    assert losses(top) == ()


def with_name(name: bytes, node: Node) -> Node:
    top = directory()
    assert top.children is not None
    top.children[name] = node
    return top


def with_attribute() -> Node:
    node = Node(stat.S_IFREG | 0o755)
    node.xattrs = {b"security.capability": b"x"}
    return node


@pytest.mark.parametrize(
    ("top", "words"),
    [
        (with_name(b"a b", Node(stat.S_IFREG)), "1 names with spaces"),
        (with_name(b"\xc3\xa4", Node(stat.S_IFREG)), "not plain text"),
        (with_name(b":x", Node(stat.S_IFREG)), "1 names"),
        (with_name(b"x", symlink(b"a b")), "1 names"),
        (with_name(b"x", with_attribute()), "1 files with extended attributes"),
        (with_name(b"tmp", directory(0o1777)), "1 sticky bits"),
        (with_name(b"s", Node(stat.S_IFSOCK | 0o600)), "1 special files"),
    ],
)
def test_what_it_cannot_say(top: Node, words: str) -> None:
    assert any(words in loss for loss in losses(top))

"""What ext4 cannot hold is an error that names the file; what it just can hold works."""

from __future__ import annotations

import stat

import pytest

from dibo.formats.ext4 import Ext4Error, Writer
from dibo.tree.node import Node
from tests.support.disks.memory_disk import SECOND, Disk, Recorder, device, directory, symlink
from tests.unit.formats.ext4.conftest import MIB, made, parameters

pytestmark = pytest.mark.slow


def refuse(root: Node, match: str) -> None:
    with pytest.raises(Ext4Error, match=match):
        Writer(Disk(16 * MIB), parameters()).finish(root)


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0b", b"x" * 256])
def test_names(name: bytes) -> None:
    inner = directory()
    inner.children = {name: Node(stat.S_IFREG)}
    refuse(directory(d=inner), "^/d: .* cannot be the name of a file")


@pytest.mark.parametrize("target", [b"", b"x" * 4096, b"a\0b"])
def test_link_targets(target: bytes) -> None:
    refuse(directory(a=symlink(target)), "^/a: a symbolic link to")


@pytest.mark.parametrize("number", [(4096, 0), (0, 1 << 20), (-1, 0)])
def test_device_numbers(number: tuple[int, int]) -> None:
    refuse(directory(a=device(stat.S_IFBLK, *number)), "^/a: device .* no such number")


@pytest.mark.parametrize("number", [(0, 0), (255, 255), (256, 0), (0, 256), (4095, (1 << 20) - 1)])
def test_device_numbers_that_work(number: tuple[int, int]) -> None:
    made(lambda contents: directory(a=device(stat.S_IFCHR, *number)))


@pytest.mark.parametrize(("uid", "gid"), [(1 << 32, 0), (0, -1)])
def test_ids(uid: int, gid: int) -> None:
    refuse(directory(a=Node(stat.S_IFREG, uid, gid)), "^/a: mode .* does not fit an inode")


@pytest.mark.parametrize("mode", [0, 0o644, stat.S_IFDIR, 0o170000])
def test_modes(mode: int) -> None:
    node = Node(stat.S_IFREG)
    node.mode = mode
    refuse(directory(a=node), "^/a: a node whose mode is")


def test_a_root_that_is_a_file() -> None:
    refuse(Node(stat.S_IFREG), "the root of a tree is a directory")


def test_a_directory_with_two_names() -> None:
    inner = directory()
    refuse(directory(a=directory(b=inner), c=inner), "/c: a directory with two names")


def test_a_circle() -> None:
    inner = directory()
    root = directory(a=inner)
    assert inner.children is not None
    inner.children[b"root"] = root
    refuse(root, "a directory with two names")


def test_hard_links() -> None:
    def build(links: int) -> Node:
        node, root = Node(stat.S_IFREG), directory()
        root.children = {b"%d" % number: node for number in range(links)}
        return root

    _, found = made(lambda contents: build(65000))
    assert found.children[b"0"].inode.links == 65000
    refuse(build(65001), "/0: more than 65000 hard links")


@pytest.mark.parametrize(("given", "kept"), [(-(2**40), -(2**31)), (2**36, 2**34 - 2**31 - 1)])
def test_times_are_clamped(given: int, kept: int) -> None:
    disk = Disk(16 * MIB)
    Writer(disk, parameters()).finish(directory(a=Node(stat.S_IFREG, mtime=given * SECOND)))
    from tests.support.readers.ext4_check import Checker

    inode = Checker(disk.read).check().children[b"a"].inode
    assert inode.mtime // SECOND == kept


class TestXattrs:
    @staticmethod
    def node(xattrs: dict[bytes, bytes]) -> Node:
        node = Node(stat.S_IFREG)
        node.xattrs = xattrs
        return node

    @pytest.mark.parametrize(
        "size", [0, 1, 59, 60, 61, 64, 65, 68, 69, 4000, 4035, 4036, 4037, 4038, 4039, 4040]
    )
    def test_that_just_fit(self, size: int) -> None:
        made(lambda contents: directory(a=self.node({b"user.a": b"v" * size})))

    def test_that_do_not(self) -> None:
        refuse(directory(a=self.node({b"user.a": b"v" * 4041})), "^/a: 1 extended attributes take 4068 bytes")

    def test_the_sum_that_counts(self) -> None:
        """Of many small ones, names and padding are most of it."""
        many = {b"user.%02d" % number: b"v" * 50 for number in range(60)}
        refuse(
            directory(a=self.node(many)),
            "take 4[0-9]{3} bytes with their names and padding, expected at most 4064",
        )

    def test_in_both_places(self) -> None:
        made(lambda contents: directory(a=self.node({b"user.%d" % n: b"v" * 11 * n for n in range(20)})))

    @pytest.mark.parametrize(
        "name", [b"odd.name", b"user.", b"user", b"user." + b"x" * 251, b"user.a\0", b"system.data"]
    )
    def test_names(self, name: bytes) -> None:
        refuse(directory(a=self.node({name: b""})), "^/a: extended attribute .* of this name")

    @pytest.mark.parametrize("value", [b"", b"\1\0\0\0", b"\2\0\0\0" + bytes(7), b"\2\0\0\0" + b"\xff" * 8])
    def test_access_control_lists_that_are_none(self, value: bytes) -> None:
        refuse(
            directory(a=self.node({b"system.posix_acl_access": value})),
            r"^/a: (invalid|an) access control list",
        )


def test_parameters() -> None:
    for wrong in (
        {"size": 0}, {"size": 4097}, {"size": 1 << 44}, {"label": "x" * 17}, {"reserved_percent": 51}, {"journal": 5},
        {"inodes": -1},
    ):  # fmt: skip
        with pytest.raises(Ext4Error):
            parameters(**{"size": MIB, **wrong})  # type: ignore[arg-type]
    with pytest.raises(Ext4Error, match="too few"):
        Writer(Disk(4096), parameters(4096))


def test_a_deep_tree() -> None:
    def build(contents: Recorder) -> Node:
        root = here = directory()
        for _ in range(3000):
            below = directory()
            here.children = {b"d": below}
            here = below
        return root

    made(build, 32 * MIB)


def test_times_that_ext4_cannot_say_are_counted() -> None:
    latest = (2**34 - 2**31) * SECOND - 1
    earliest = -(2**31) * SECOND
    times = {"new": latest, "later": latest + 1, "old": earliest, "older": earliest - 1}
    root = directory()
    assert root.children is not None
    root.children |= {name.encode(): directory(mtime=time) for name, time in times.items()}
    disk = Disk(8 * MIB)
    assert Writer(disk, parameters(8 * MIB)).finish(root).clamped_times == 2

"""Large directories: hashes, indexes of one and two levels, collisions."""

from __future__ import annotations

import stat
import struct

import pytest

from dibo.formats.ext4 import directory as directories
from dibo.formats.ext4.hashes import hash_names
from dibo.tree.node import Node
from tests.support.disks.memory_disk import directory
from tests.support.readers.ext4_check import name_hash
from tests.unit.formats.ext4.conftest import MIB, SEED, made

pytestmark = pytest.mark.slow


def of(names: list[bytes]) -> Node:
    root, inner, node = directory(), directory(), Node(stat.S_IFREG)
    inner.children = dict.fromkeys(names, node)
    root.children = {b"d": inner}
    return root


# debugfs (e2fsprogs 1.47.0): dx_hash -h half_md4 -s 01020304-0506-0708-090a-0b0c0d0e0f10 NAME
KNOWN = {
    b"hello": 0xE2DDF968,
    b"x" * 31: 0x762E6440,
    b"x" * 32: 0xBC1DA53A,
    b"x" * 33: 0x30011DD6,
    b"y" * 255: 0xA21A6EB2,
    "größe".encode(): 0x88BBCD3C,
    b"\xff\x80\x81": 0xF353FDF0,
    "é".encode() * 40: 0x3ACF277A,
}


@pytest.mark.parametrize("name", KNOWN)
def test_hashes_as_debugfs_has_them(name: bytes) -> None:
    assert hash_names([name], bytes(range(1, 17))) == [KNOWN[name]]


def test_hashes_of_many_names_at_once() -> None:
    names = [bytes((byte,)) * length for length in range(1, 256, 3) for byte in (1, 65, 127, 128, 255)]
    seed = SEED.bytes
    assert hash_names(names, seed) == [name_hash(name, struct.unpack("<4I", seed)) for name in names]


@pytest.mark.parametrize("count", range(335, 345))
def test_around_one_block(count: int) -> None:
    made(lambda contents: of([b"%04d" % number for number in range(count)]))


def test_two_levels() -> None:
    _, found = made(lambda contents: of([b"%0250d" % number for number in range(7000)]), 64 * MIB)
    assert found.children[b"d"].inode.flags & 0x1000


def test_one_level_just_and_two_just(monkeypatch: pytest.MonkeyPatch) -> None:
    """12 names of 250 bytes in a block: 507 blocks are the most that a root points to."""
    for count in (507 * 12, 507 * 12 + 1):
        checker, found = made(lambda contents, n=count: of([b"%0250d" % m for m in range(n)]), 64 * MIB)  # type: ignore[misc]
        root = next(checker.pieces(found.children[b"d"].inode))[1]
        assert root[0x1E] == (0 if count == 507 * 12 else 1)


def test_names_of_one_hash_over_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real collisions are rare: here all hashes are one of three."""
    monkeypatch.setattr(
        directories, "hash_names", lambda names, seed: [2 * (len(name) % 3) for name in names]
    )
    monkeypatch.setattr("tests.support.readers.ext4_check.name_hash", lambda name, seed: 2 * (len(name) % 3))
    checker, found = made(
        lambda contents: of([b"x" * (number % 200) + b"%d" % number for number in range(2000)])
    )
    root = next(checker.pieces(found.children[b"d"].inode))[1]
    count = int.from_bytes(root[0x22:0x24], "little")
    hashes = [int.from_bytes(root[at : at + 4], "little") for at in range(0x28, 0x20 + count * 8, 8)]
    assert {1, 3, 5} & set(hashes)

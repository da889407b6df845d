"""Ramdisks: any tree goes through the archive and comes back, whatever the order in which it grew; any set of keys goes
through an index of kernel modules; any bytes through every compression."""

from __future__ import annotations

import gzip
import lzma
import random
import stat
from collections.abc import Iterator

import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dibo.ramdisk.compress import compress, parse_compression
from dibo.ramdisk.cpio import archive
from dibo.ramdisk.depmod import index
from dibo.tree.node import Buffer, Node
from tests.support.node_trees import node, read
from tests.support.readers.cpio_reader import read_newc
from tests.support.readers.kmod_index import read_index

names = st.sampled_from(["a", "b", "c", "dd", "e-e", ".f", "a.b"])
paths = st.lists(names, min_size=1, max_size=4)
files = st.one_of(st.binary(max_size=9), st.sampled_from(["a", "../b"]), st.none())
entries = st.lists(st.tuples(paths, files, st.integers(0, 0o7777), st.integers(-2, 2**33)), max_size=12)


def grow(wanted: list[tuple[list[str], bytes | str | None, int, int]]) -> dict[str, Node]:
    """Nodes by path; what would lie below a file is left out. Times in seconds."""
    found: dict[str, Node] = {}
    for path, content, mode, mtime in wanted:
        above = ["/".join(path[:end]) for end in range(1, len(path))]
        if any(found[each].children is None for each in above if each in found) or "/".join(path) in found:
            continue
        for each in above:
            found.setdefault(each, node(None))
        found["/".join(path)] = made = node(content)
        made.mode = stat.S_IFMT(made.mode) | mode
        made.mtime = mtime * 10**9
    return found


def planted(nodes: dict[str, Node], order: list[str]) -> Node:
    root = Node(stat.S_IFDIR | 0o755)
    for each in nodes.values():
        if each.children is not None:
            each.children.clear()
    for path in order:
        above, _, name = path.rpartition("/")
        parent = nodes[above] if above else root
        assert parent.children is not None
        parent.children[name.encode()] = nodes[path]
    return root


def contents(file: Node) -> Iterator[Buffer]:
    yield read(file)


def packed(root: Node) -> bytes:
    return b"".join(map(bytes, archive(root, contents, clamp=2**31)))


@given(entries, st.randoms(use_true_random=False))
def test_any_tree_comes_back(
    wanted: list[tuple[list[str], bytes | str | None, int, int]], chance: random.Random
) -> None:
    nodes = grow(wanted)
    data = packed(planted(nodes, sorted(nodes)))
    found = {member.name: member for member in read_newc(data)}
    assert found.keys() == nodes.keys() | {"."}
    for path, each in nodes.items():
        member = found[path]
        assert member.mode == each.mode and member.mtime == min(max(0, each.mtime // 10**9), 2**31)
        assert member.data == (each.target if stat.S_ISLNK(each.mode) else each.data or b"")
    assert sorted(member.number for member in found.values()) == list(range(1, len(found) + 1))
    shuffled = sorted(nodes)
    chance.shuffle(shuffled)
    assert packed(planted(nodes, shuffled)) == data


keys = st.text(st.sampled_from("ab:*[]_"), max_size=6)


@given(st.lists(st.tuples(keys, st.text(st.sampled_from("xyz"), min_size=1), st.integers(0, 9)), max_size=30))
def test_any_keys_come_back(wanted: list[tuple[str, str, int]]) -> None:
    found = read_index(index(wanted))
    assert sorted(found) == sorted((key, rank, value) for key, value, rank in wanted)
    for key in {key for key, _, _ in found}:
        ranks = [rank for each, rank, _ in found if each == key]
        assert ranks == sorted(ranks)


@given(st.lists(st.binary(max_size=200), max_size=6), st.sampled_from(["zstd:1", "gzip", "xz:0"]))
def test_any_bytes_come_back(pieces: list[bytes], method: str) -> None:
    data = b"".join(map(bytes, compress(pieces, parse_compression(method), threads=2)))
    match method.partition(":")[0]:
        case "gzip":
            back = gzip.decompress(data)
        case "xz":
            back = lzma.decompress(data)
        case _:
            back = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    assert back == b"".join(pieces)

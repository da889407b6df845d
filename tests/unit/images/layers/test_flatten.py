"""What becomes of entries, whiteouts, links and types across layers: tables of small stacks and their trees."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dibo.errors import LayerError
from dibo.images.layers.limits import Limits
from dibo.images.layers.load import load
from dibo.tree.node import Node
from tests.support.images.tar_layers import (
    END,
    MemorySink,
    directory,
    file,
    find,
    hardlink,
    header,
    layer,
    listing,
    load_parts,
    long,
    symlink,
)

D, F, S, H = directory, file, symlink, hardlink


def wh(name: bytes) -> bytes:
    return file(name)


STACKS: dict[str, tuple[tuple[tuple[bytes, ...], ...], dict[str, str]]] = {
    "one file": (((F(b"a", b"1"),),), {"a": "1"}),
    "names are cleaned": (
        ((F(b"./a//b/./c", b"1"), D(b"/d/"), D(b"./")),),
        {"a": "dir", "a/b": "dir", "a/b/c": "1", "d": "dir"},
    ),
    "absolute names stay inside": (((F(b"/etc/passwd", b"1"),),), {"etc": "dir", "etc/passwd": "1"}),
    "the higher file wins": (((F(b"a", b"1"),), (F(b"a", b"2"),)), {"a": "2"}),
    "the last of a layer wins": (((F(b"a", b"1"), F(b"a", b"2")),), {"a": "2"}),
    "directories merge": (
        ((D(b"d"), F(b"d/a", b"1")), (D(b"d"), F(b"d/b", b"2"))),
        {"d": "dir", "d/a": "1", "d/b": "2"},
    ),
    "directory over file": (((F(b"x", b"1"),), (D(b"x"), F(b"x/a", b"2"))), {"x": "dir", "x/a": "2"}),
    "file over directory": (((D(b"x"), F(b"x/a", b"1")), (F(b"x", b"2"),)), {"x": "2"}),
    "file over directory in one layer": (((D(b"x"), F(b"x/a", b"1"), F(b"x", b"2")),), {"x": "2"}),
    "file, then directory, over directory": (
        ((D(b"x"), F(b"x/a", b"1")), (F(b"x", b"2"),), (D(b"x"), F(b"x/b", b"3"))),
        {"x": "dir", "x/b": "3"},
    ),
    "directory over symlink": (
        ((D(b"e"), S(b"x", b"e")), (D(b"x"), F(b"x/a", b"1"))),
        {"e": "dir", "x": "dir", "x/a": "1"},
    ),
    "symlink over directory": (((D(b"x"), F(b"x/a", b"1")), (S(b"x", b"e"),)), {"x": "-> e"}),
    # Parents
    "implied directory over a file": (((F(b"x", b"1"),), (F(b"x/a", b"2"),)), {"x": "dir", "x/a": "2"}),
    "parent is a file of the layer": (((F(b"x", b"1"), F(b"x/a", b"2")),), {"x": "dir", "x/a": "2"}),
    "parent is a symlink of the layer": (
        ((D(b"usr/lib"), S(b"lib", b"usr/lib"), F(b"lib/a", b"1")),),
        {"lib": "-> usr/lib", "usr": "dir", "usr/lib": "dir", "usr/lib/a": "1"},
    ),
    "parent is an absolute symlink": (
        ((S(b"lib", b"/usr/lib"), F(b"lib/a", b"1")),),
        {"lib": "-> /usr/lib", "usr": "dir", "usr/lib": "dir", "usr/lib/a": "1"},
    ),
    "parent is a symlink that climbs out": (
        ((D(b"a"), S(b"a/x", b"../../../../etc"), F(b"a/x/passwd", b"1")),),
        {"a": "dir", "a/x": "-> ../../../../etc", "etc": "dir", "etc/passwd": "1"},
    ),
    "parent is a symlink of a lower layer": (
        (
            (D(b"usr/lib"), S(b"lib", b"usr/lib"), F(b"usr/lib/a", b"1")),
            (F(b"lib/a", b"2"), F(b"lib/b", b"3")),
        ),
        {"lib": "-> usr/lib", "usr": "dir", "usr/lib": "dir", "usr/lib/a": "2", "usr/lib/b": "3"},
    ),
    "parent is a symlink of a lower layer to a symlink": (
        ((D(b"r"), S(b"q", b"/r"), S(b"p", b"./q")), (F(b"p/a", b"1"),)),
        {"p": "-> ./q", "q": "-> /r", "r": "dir", "r/a": "1"},
    ),
    "parent is a dangling symlink": (
        ((S(b"x", b"y/z"),), (F(b"x/a", b"1"),)),
        {"x": "-> y/z", "y": "dir", "y/z": "dir", "y/z/a": "1"},
    ),
    "the root is a symlink's end": (((S(b"x", b"/"),), (F(b"x/a", b"1"),)), {"a": "1", "x": "-> /"}),
    "a symlink is replaced under a path": (
        ((S(b"x", b"/etc"), F(b"x/a", b"1"), D(b"x"), F(b"x/b", b"2")),),
        {"etc": "dir", "etc/a": "1", "x": "dir", "x/b": "2"},
    ),
    "a symlink is put in the way": (
        ((D(b"x"), F(b"x/a", b"1"), S(b"x", b"etc"), F(b"x/b", b"2")),),
        {"etc": "dir", "etc/b": "2", "x": "-> etc"},
    ),
    # Whiteouts
    "whiteout of a file": (((F(b"a", b"1"), F(b"b", b"2")), (wh(b".wh.a"),)), {"b": "2"}),
    "whiteout of a directory": (((D(b"d"), F(b"d/a", b"1")), (wh(b".wh.d"),)), {}),
    "whiteout of nothing": (((F(b"a", b"1"),), (wh(b".wh.b"), wh(b"c/.wh.d"))), {"a": "1"}),
    "whiteout in a file": (((F(b"a", b"1"),), (wh(b"a/.wh.d"),)), {"a": "1"}),
    "whiteout in the lowest layer": (((wh(b".wh.a"), F(b"b", b"1")),), {"b": "1"}),
    "whiteout, then the file": (((F(b"a", b"1"),), (wh(b".wh.a"), F(b"a", b"2"))), {"a": "2"}),
    "the file, then its whiteout": (((F(b"a", b"1"),), (F(b"a", b"2"), wh(b".wh.a"))), {"a": "2"}),
    "whiteout of a directory that comes again": (
        ((D(b"d"), F(b"d/a", b"1")), (D(b"d"), F(b"d/b", b"2"), wh(b".wh.d"))),
        {"d": "dir", "d/b": "2"},
    ),
    "whiteout two layers up": (((F(b"a", b"1"),), (F(b"a", b"2"),), (wh(b".wh.a"),)), {}),
    "whiteout, and above it the file": (((F(b"a", b"1"),), (wh(b".wh.a"),), (F(b"a", b"3"),)), {"a": "3"}),
    "whiteout through a symlink of the layer": (
        ((D(b"e"), F(b"e/a", b"1")), (S(b"x", b"e"), wh(b"x/.wh.a"))),
        {"e": "dir", "x": "-> e"},
    ),
    "whiteout through a symlink of a lower layer": (
        ((D(b"e"), F(b"e/a", b"1"), S(b"x", b"e")), (wh(b"x/.wh.a"),)),
        {"e": "dir", "x": "-> e"},
    ),
    "whiteout through a dangling symlink": (((S(b"x", b"y/z"),), (wh(b"x/.wh.a"),)), {"x": "-> y/z"}),
    "whiteout whose name has a slash in the way": (
        ((D(b"d/e"), F(b"d/e/a", b"1")), (wh(b"./d//e/.wh.a"),)),
        {"d": "dir", "d/e": "dir"},
    ),
    "opaque": (
        (
            (D(b"d"), F(b"d/a", b"1"), D(b"d/s"), F(b"d/s/b", b"1")),
            (D(b"d"), wh(b"d/.wh..wh..opq"), F(b"d/c", b"2")),
        ),
        {"d": "dir", "d/c": "2"},
    ),
    "opaque after children": (
        ((D(b"d"), F(b"d/a", b"1")), (D(b"d"), F(b"d/c", b"2"), wh(b"d/.wh..wh..opq"))),
        {"d": "dir", "d/c": "2"},
    ),
    "opaque root": (((F(b"a", b"1"),), (wh(b".wh..wh..opq"), F(b"b", b"2"))), {"b": "2"}),
    "opaque and a directory inside": (
        ((D(b"d/s"), F(b"d/s/a", b"1")), (wh(b"d/.wh..wh..opq"), F(b"d/s/b", b"2"))),
        {"d": "dir", "d/s": "dir", "d/s/b": "2"},
    ),
    "opaque of nothing": (((F(b"a", b"1"),), (wh(b"d/.wh..wh..opq"),)), {"a": "1"}),
    "overlayfs' whiteout": (((F(b"a", b"1"),), (header(b"a", b"3"),)), {}),
    "what aufs keeps": (
        (
            (
                D(b".wh..wh.plnk"),
                F(b".wh..wh.plnk/1.2", b"x"),
                F(b".wh..wh.aufs"),
                D(b".wh..wh.orph"),
                F(b"a", b"1"),
            ),
        ),
        {"a": "1"},
    ),
    "hard link into aufs' own": (
        ((D(b".wh..wh.plnk"), F(b".wh..wh.plnk/1.2", b"x"), H(b"a", b".wh..wh.plnk/1.2")),),
        {"a": "x"},
    ),
    # Hard links
    "hard link": (((F(b"a", b"1"), H(b"b", b"a"), H(b"c", b"./b")),), {"a": "1", "b": "1", "c": "1"}),
    "hard link to a lower file": (((F(b"a", b"1"),), (H(b"b", b"a"),)), {"a": "1", "b": "1"}),
    "hard link to a lower file that this layer hides": (
        ((F(b"a", b"1"),), (wh(b".wh.a"), H(b"b", b"a"))),
        {"b": "1"},
    ),
    "hard link to a lower file that this layer replaces": (
        ((F(b"a", b"1"),), (H(b"b", b"a"), F(b"a", b"2"))),
        {"a": "2", "b": "1"},
    ),
    "hard link to a file that a higher layer hides": (
        ((F(b"a", b"1"), H(b"b", b"a")), (wh(b".wh.a"),)),
        {"b": "1"},
    ),
    "hard link to a file that a higher layer replaces": (
        ((F(b"a", b"1"), H(b"b", b"a")), (F(b"a", b"2"),)),
        {"a": "2", "b": "1"},
    ),
    "hard link two layers down": (
        ((F(b"a", b"1"),), (F(b"x", b"0"),), (H(b"b", b"a"), F(b"a", b"2"))),
        {"a": "2", "b": "1", "x": "0"},
    ),
    "hard link through a lower symlink": (
        ((D(b"e"), F(b"e/a", b"1"), S(b"x", b"e")), (wh(b"e/.wh.a"), H(b"b", b"x/a"))),
        {"b": "1", "e": "dir", "x": "-> e"},
    ),
    "hard link to a symlink": (((S(b"a", b"z"), H(b"b", b"a")),), {"a": "-> z", "b": "-> z"}),
    "hard link to a lower symlink": (((S(b"a", b"z"),), (H(b"b", b"a"),)), {"a": "-> z", "b": "-> z"}),
    "hard link to a device": (
        ((header(b"a", b"4", device=(8, 1)), H(b"b", b"a")),),
        {"a": "device 8:1", "b": "device 8:1"},
    ),
    "hard link to a FIFO": (((header(b"a", b"6"), H(b"b", b"a")),), {"a": "fifo", "b": "fifo"}),
    "hard link to itself": (((F(b"a", b"1"), H(b"a", b"a")),), {"a": "1"}),
    "hard link to itself, below": (((F(b"a", b"1"),), (H(b"a", b"a"),)), {"a": "1"}),
    "hard link before its target": (((H(b"b", b"a"), F(b"a", b"1")),), {"a": "1", "b": "1"}),
    "hard link replaced by a file": (((F(b"a", b"1"), H(b"b", b"a"), F(b"b", b"2")),), {"a": "1", "b": "2"}),
    "hard link to a hard link to below": (
        ((F(b"a", b"1"),), (H(b"b", b"a"), H(b"c", b"b"))),
        {"a": "1", "b": "1", "c": "1"},
    ),
    "absolute hard link": (((F(b"a", b"1"), H(b"b", b"/a")),), {"a": "1", "b": "1"}),
}


@pytest.mark.parametrize(("stack", "wanted"), STACKS.values(), ids=STACKS)
def test_stack(stack: tuple[tuple[bytes, ...], ...], wanted: dict[str, str]) -> None:
    tree, memory = load_parts(*stack)
    assert listing(tree, memory) == wanted
    assert tree.entries == len(wanted)
    kept = set(range(len(memory.files))) - set(memory.released)
    files = {child.content for child in _all(tree.root) if child.content is not None}
    assert kept == files, "what is in no tree is released, and nothing else"


def _all(node: Node) -> Iterator[Node]:
    yield node
    for child in (node.children or {}).values():
        yield from _all(child)


REFUSED: dict[str, tuple[tuple[tuple[bytes, ...], ...], str]] = {
    "climbing name": (((F(b"../a", b"1"),),), "`..`"),
    "climbing name inside": (((F(b"a/../../b", b"1"),),), "leads out of the root"),
    "only `..`": (((D(b".."),),), "`..`"),
    "no name": (((F(b"", b"1"),),), "no name"),
    "file for a root": (((F(b"./", b"1"),),), "root"),
    "symlink for a root": (((S(b".", b"/etc"),),), "root"),
    "climbing hard link": (((H(b"a", b"../../etc/passwd"),),), "`..`"),
    "hard link to nothing": (((H(b"a", b"b"),),), "neither this layer nor a lower one"),
    "hard link to nothing at all": (((H(b"a", b""),),), "hard link to the root"),
    "hard link to itself alone": (((H(b"a", b"a"),),), "neither this layer nor a lower one"),
    "hard link to what a lower layer had": (
        ((F(b"a", b"1"),), (wh(b".wh.a"),), (H(b"b", b"a"),)),
        "neither this layer nor a lower one",
    ),
    "hard link to a directory": (((D(b"a"), H(b"b", b"a")),), "directory"),
    "hard link to a lower directory": (((D(b"a"),), (H(b"b", b"a"),)), "directory"),
    "hard link to the root": (((H(b"b", b"/"),),), "root"),
    "bare whiteout": (((F(b"a", b"1"),), (wh(b".wh."),)), "whiteout"),
    "whiteout of `.`": (((F(b"a", b"1"),), (wh(b".wh.."),)), "whiteout"),
    "whiteout of `..`": (((F(b"a", b"1"),), (wh(b"d/.wh..."),)), "whiteout"),
    "something in a whiteout": (((F(b".wh.a/b", b"1"),),), "whiteout"),
    "symlinks in a circle": (((S(b"a", b"b"), S(b"b", b"a"), F(b"a/c", b"1")),), "symlinks"),
    "lower symlinks in a circle": (((S(b"a", b"b"), S(b"b", b"a")), (F(b"a/c", b"1"),)), "symlinks"),
    "symlink to nothing": (((S(b"a", b""),),), "symlink"),
}


@pytest.mark.parametrize(("stack", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(stack: tuple[tuple[bytes, ...], ...], words: str) -> None:
    with pytest.raises(LayerError, match=words) as caught:
        load_parts(*stack)
    assert "sha256:" in caught.value.message


WAY = (D(b"a"), D(b"t"), F(b"t/f", b"1"), S(b"s", b"a/../" * 19 + b"t"))
"""`s` leads to `t` by 39 names."""
COSTLY: dict[str, tuple[tuple[bytes, ...], ...]] = {
    "parents": ((*WAY, *(F(b"s/%d/f" % number, b"1") for number in range(32))),),
    "parents that are changed in turn": (
        (*WAY, *(part for number in range(32) for part in (S(b"l", b"s"), F(b"l/%d" % number, b"1")))),
    ),
    "implied directories": (
        tuple(S(b"l%d" % number, b"a/../" * 19 + b"t") for number in range(32)),
        tuple(F(b"l%d/f" % number, b"1") for number in range(32)),
    ),
    "whiteouts": (
        tuple(S(b"l%d" % number, b"a/../" * 19 + b"t") for number in range(32)),
        tuple(wh(b"l%d/.wh.f" % number) for number in range(32)),
    ),
    "hard links": ((*WAY, *(H(b"h%d" % number, b"s/f") for number in range(32))),),
    "hard links to a lower layer": (WAY, tuple(H(b"h%d" % number, b"s/f") for number in range(32))),
}


@pytest.mark.parametrize("stack", COSTLY.values(), ids=COSTLY)
def test_what_symlinks_cost_together_is_bounded(stack: tuple[tuple[bytes, ...], ...]) -> None:
    load_parts(*stack)
    with pytest.raises(LayerError, match="add more than 600 names"):
        load_parts(*stack, limits=Limits(link_names=600))


def test_few_names_of_symlinks_are_free() -> None:
    files = (F(b"lib/%d/f" % number, b"1") for number in range(32))
    load_parts((S(b"lib", b"usr/share/../lib"), *files), limits=Limits(link_names=0))


def test_paths_that_no_kernel_takes() -> None:
    way = b"a/../" * 1000
    for part in (long(b"L", way + b"f") + F(b"f", b"1"), long(b"K", way + b"f") + H(b"h", b"f")):
        with pytest.raises(LayerError, match="longer than 4096 bytes"):
            load_parts((F(b"f", b"1"), part))


def test_a_hidden_file_is_not_written() -> None:
    _, memory = load_parts((F(b"a", b"old"), F(b"d/b", b"old")), (F(b"a", b"new"), wh(b".wh.d")))
    assert memory.files == [b"new"]


def test_an_implied_directory_has_the_attributes_of_the_one_below() -> None:
    tree, _ = load_parts((D(b"d", 0o700, uid=5, mtime=9),), (F(b"d/a", b"1"),))
    node = find(tree, "d")
    assert (node.mode & 0o7777, node.uid, node.mtime) == (0o700, 5, 9_000_000_000)


def test_an_implied_directory_over_nothing_is_roots() -> None:
    tree, _ = load_parts((F(b"d/a", b"1"),))
    node = find(tree, "d")
    assert (node.mode & 0o7777, node.uid, node.gid, node.mtime) == (0o755, 0, 0, 0)


def test_a_directory_takes_the_attributes_of_the_higher_layer() -> None:
    tree, _ = load_parts(
        (D(b"d", 0o700, uid=5), D(b"./", 0o700)), (D(b"d", 0o711, uid=6), D(b"./", 0o755, uid=3))
    )
    assert (find(tree, "d").mode & 0o7777, find(tree, "d").uid) == (0o711, 6)
    assert (tree.root.mode & 0o7777, tree.root.uid) == (0o755, 3)


def test_an_opaque_directory_keeps_its_attributes() -> None:
    tree, _ = load_parts((D(b"d", 0o700, uid=5), F(b"d/a", b"1")), (wh(b"d/.wh..wh..opq"),))
    assert (find(tree, "d").mode & 0o7777, find(tree, "d").uid) == (0o700, 5)
    assert find(tree, "d").children == {}


def test_hard_links_are_one_node() -> None:
    tree, _ = load_parts((F(b"a", b"1"),), (H(b"b", b"a"), H(b"c", b"b")))
    assert find(tree, "a") is find(tree, "b") is find(tree, "c")
    assert (tree.entries, tree.inodes, tree.bytes) == (3, 2, 1)


def test_no_layers_are_an_empty_root() -> None:
    tree = load((), MemorySink())
    assert (tree.root.children, tree.entries, tree.inodes) == ({}, 0, 1)


def test_a_layer_without_entries() -> None:
    memory = MemorySink()
    tree = load([layer(F(b"a", b"1")), layer(), layer(end=b""), layer(end=END + bytes(10240))], memory)
    assert listing(tree, memory) == {"a": "1"}

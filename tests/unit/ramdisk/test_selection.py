"""Picking from a tree: what is taken lies where it lay, with the links that lead to it."""

from __future__ import annotations

import pytest

from dibo.ramdisk.selection import Selection, children, files_below, resolve
from dibo.tree.node import Node
from tests.support.node_trees import Content, listing, read, tree

MERGED: dict[str, Content | Node] = {
    "bin": "usr/bin",
    "lib": "usr/lib",
    "usr/bin/sh": "dash",
    "usr/bin/dash": b"dash",
    "usr/bin/awk": "/etc/alternatives/awk",
    "etc/alternatives/awk": "../../usr/bin/mawk",
    "usr/bin/mawk": b"mawk",
    "usr/lib/libc.so.6": b"libc",
    "usr/share/doc/x/y": b"",
    "loop": "loop",
    "out": "../../../usr/bin/dash",
    "nowhere": "gone",
}


def selection(entries: dict[str, Content | Node] | None = None) -> Selection:
    return Selection(tree(entries or MERGED), read)


def test_links_on_the_way_are_taken() -> None:
    some = selection()
    found = some.take("/bin/awk")
    assert found is not None and found.path == "/usr/bin/mawk" and read(found.node) == b"mawk"
    assert dict(listing(some.tree)) == {
        "bin": "usr/bin",
        "usr/bin/awk": "/etc/alternatives/awk",
        "etc/alternatives/awk": "../../usr/bin/mawk",
        "usr/bin/mawk": b"mawk",
    }


@pytest.mark.parametrize("path", ["/loop", "/loop/x", "/nowhere", "/usr/bin/dash/x", "/usr/gone"])
def test_nothing_there(path: str) -> None:
    some = selection()
    assert some.take(path) is None
    assert resolve(some.root, path) is None


def test_links_cannot_leave_the_root() -> None:
    found = selection().take("/out")
    assert found is not None and found.path == "/usr/bin/dash"


def test_directories_are_copies() -> None:
    some = selection()
    some.take("/usr/share/doc")
    some.put("/usr/share/doc/new", b"new")
    assert dict(listing(some.tree)) == {"usr/share/doc/new": b"new"}
    assert dict(listing(some.root)) == dict(listing(tree(MERGED)))


def test_files_are_the_same_inode() -> None:
    entries: dict[str, Content | Node] = {**MERGED}
    entries["usr/bin/bash"] = shared = tree({"x": b"x"}).children[b"x"]  # type: ignore[index]
    entries["usr/bin/rbash"] = shared
    some = selection(entries)
    some.take("/bin/bash")
    some.take("/bin/rbash")
    one, other = resolve(some.tree, "/bin/bash"), resolve(some.tree, "/bin/rbash")
    assert one is not None and other is not None and one.node is other.node is shared


def test_put_goes_where_links_lead() -> None:
    some = selection()
    some.take("/bin")
    some.put("/bin/new", b"new", 0o755)
    assert dict(listing(some.tree)) == {"bin": "usr/bin", "usr/bin/new": b"new"}


def test_a_link_whose_end_was_not_picked() -> None:
    some = selection()
    some.link("/lib", "usr/lib")
    some.link("/abs", "/var/abs")
    some.put("/lib/x", b"x")
    some.put("/abs/x", b"x")
    assert dict(listing(some.tree)) == {
        "abs": "/var/abs",
        "lib": "usr/lib",
        "usr/lib/x": b"x",
        "var/abs/x": b"x",
    }


def test_whole_directories() -> None:
    some = selection()
    assert some.take_all("/bin")
    assert some.has("/usr/bin/mawk") and some.has("/bin/sh")
    assert not some.take_all("/gone")
    entries: dict[str, Content | Node] = {"d/dangling": "gone", "d/e/f": b"f"}
    some = selection(entries)
    assert some.take_all("/d")
    assert dict(listing(some.tree)) == entries


def test_looking() -> None:
    root = tree(MERGED)
    assert children(root, "/bin") == ("awk", "dash", "mawk", "sh")
    assert children(root, "/gone") == () and children(root, "/usr/bin/dash") == ()
    assert list(files_below(root, "/usr/share")) == ["/usr/share/doc/x/y"]


def test_a_directory_that_is_there_keeps_its_mode() -> None:
    some = selection()
    some.directory("/tmp", 0o1777)
    some.directory("/tmp")
    found = resolve(some.tree, "/tmp")
    assert found is not None and found.node.mode & 0o7777 == 0o1777

"""The judge of conversions sees what is wrong with a disk, and nothing wrong with one that is right."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.images.corpus_workspace import SECOND, CorpusWorkspace, corpus_workspace
from tests.support.images.oracle import NotRight, command, differences, find_root, fsck, on_disk, require_same
from tests.support.images.sample_tree import TIMES
from tests.support.images.tree_entries import Entry, Tree, walk
from tests.support.requirements import need, unmet

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def shop() -> Iterator[CorpusWorkspace]:
    if os.geteuid() != 0:
        unmet("only root can make files of others, and mount")
    need("mke2fs", "e2fsck", "debugfs", "mount", "unshare", "sfdisk")
    with corpus_workspace() as shop:
        yield shop


@pytest.fixture(scope="module")
def disk(shop: CorpusWorkspace) -> Path:
    """The tree, written by mke2fs, which cuts times to seconds, gets those far from now wrong, and the root's."""
    path = shop.new("disk.raw")
    command("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", shop.first, path, "100M")
    return path


def of_mke2fs(tree: Tree) -> Tree:
    def whole(entry: Entry) -> Entry:
        kept = tuple(each for each in entry.xattrs if each[0] != "trusted.thing")
        links = () if entry.kind == "symlink" else entry.links
        return replace(entry, mtime=entry.mtime // SECOND * SECOND, xattrs=kept, links=links)

    return {
        path: whole(entry)
        for path, entry in tree.items()
        if path and path.removeprefix(b"times/").partition(b"-")[0].decode(errors="replace") not in _FAR
    }


_FAR = {name.partition("-")[0] for name in TIMES} - {"nanoseconds", "epoch"}


def test_a_right_disk_is_right(shop: CorpusWorkspace, disk: Path) -> None:
    require_same(of_mke2fs(on_disk(disk)), of_mke2fs(walk(shop.first)))


def test_a_disk_in_a_partition_is_found(shop: CorpusWorkspace, disk: Path) -> None:
    whole = shop.new("whole.raw")
    whole.write_bytes(bytes(1 << 20) + disk.read_bytes() + bytes(1 << 20))
    table = shop.new("table")
    table.write_text("label: gpt\nstart=2048,size=204800,type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709\n")
    command("sh", "-c", f"sfdisk -q {whole} < {table}")
    assert find_root(whole) == (1 << 20, 100 << 20)
    require_same(of_mke2fs(on_disk(whole)), of_mke2fs(walk(shop.first)))


@pytest.mark.parametrize(
    ("orders", "said"),
    [
        ("set_inode_field /plain/size-1 mode 0100600", "plain/size-1: mode is 0o600, not 0o644"),
        ("set_inode_field /plain/size-1 uid 5", "plain/size-1: uid is 5, not 0"),
        ("set_inode_field /plain/size-1 mtime 19990102", "plain/size-1: mtime is"),
        ("unlink /links/one\nset_inode_field <{one}> links_count 3", "links/one: missing"),
        ("ea_set /plain/size-1 user.more less", "plain/size-1: xattrs is (('user.more', b'less'),), not ()"),
        ("symlink /names/new nowhere", "names/new: should not be there"),
    ],
)
def test_what_is_not_right_is_named(shop: CorpusWorkspace, disk: Path, orders: str, said: str) -> None:
    spoilt = shop.new("spoilt.raw")
    spoilt.write_bytes(disk.read_bytes())
    number = _inode(disk, "/links/one")
    script = shop.new("orders")
    script.write_text(orders.format(one=number) + "\n")
    command("debugfs", "-w", "-f", script, spoilt)
    wrong = differences(of_mke2fs(on_disk(spoilt)), of_mke2fs(walk(shop.first)))
    assert any(line.startswith(said) for line in wrong), wrong


def _inode(disk: Path, name: str) -> int:
    return int(command("debugfs", "-R", f"stat {name}", disk).split()[1])


def test_a_changed_byte_is_seen(shop: CorpusWorkspace, disk: Path) -> None:
    spoilt = bytearray(disk.read_bytes())
    place = spoilt.index(b"data" * 1000)
    spoilt[place] ^= 1
    path = shop.new("spoilt.raw")
    path.write_bytes(spoilt)
    wrong = differences(of_mke2fs(on_disk(path)), of_mke2fs(walk(shop.first)))
    assert len(wrong) == 1
    assert ": content is " in wrong[0]


def test_what_e2fsck_has_to_say_is_a_failure(shop: CorpusWorkspace, disk: Path) -> None:
    spoilt = shop.new("spoilt.raw")
    spoilt.write_bytes(disk.read_bytes())
    command("debugfs", "-w", "-R", "set_inode_field /plain/size-1 links_count 7", spoilt)
    with pytest.raises(NotRight, match="ref count is 7, should be 1"):
        fsck(spoilt)

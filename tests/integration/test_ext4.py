"""What others make of dibo's ext4: e2fsck, the kernel, resize2fs, GRUB, and mke2fs beside it."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dibo.tree.node import Node
from tests.properties.tree_strategies import roots
from tests.support.disks.ext4_images import MIB, by_mke2fs, described, privately, written
from tests.support.disks.memory_disk import Recorder, directory, file, zoo
from tests.support.images.oracle import fsck, mounted, require_same
from tests.support.requirements import need, unmet

pytestmark = pytest.mark.integration

GIB = 1 << 30
BLOCKS = (256, 2048, 25600, 32768 + 40, 32768 + 60, 40000, 524288, 78643200)
"""Sizes, some with a last group that is hardly one."""


@pytest.fixture
def as_root() -> None:
    need("unshare", "mount", "losetup")
    if os.geteuid() != 0:
        unmet("only root can mount")


@pytest.mark.parametrize("size", [10 * MIB, 127 * MIB, 129 * MIB, 700 * MIB, 5 * GIB, 100 * GIB, 2048 * GIB])
def test_e2fsck_has_nothing_to_say(size: int, tmp_path: Path) -> None:
    image = tmp_path / "image"
    written(image, size, zoo)
    fsck(image)


def test_the_kernel_shows_what_went_in(as_root: None, tmp_path: Path) -> None:
    image = tmp_path / "image"
    wanted, _ = written(image, 300 * MIB, zoo)
    found = mounted(image, 0, 300 * MIB)
    require_same(found, wanted)
    assert found[b"hole"].allocated == 0
    assert found[b"sparse"].allocated == 2 * 4096
    assert found[b"holes"].allocated == 402 * 4096  # two blocks of extents


def readable(root: Node) -> Node:
    """Only files and directories have user.*: the kernel shows no others (xattr(7))."""
    todo = [root]
    while todo:
        node = todo.pop()
        todo += (node.children or {}).values()
        if not (stat.S_ISREG(node.mode) or stat.S_ISDIR(node.mode)):
            node.xattrs = {name: value for name, value in (node.xattrs or {}).items() if name[:5] != b"user."}
    return root


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_tree(data: st.DataObject, as_root: None, tmp_path: Path) -> None:
    image = tmp_path / "image"
    wanted, _ = written(image, 10 * MIB, lambda contents: readable(data.draw(roots(contents))))
    fsck(image)
    require_same(mounted(image, 0, 10 * MIB), wanted)


def large(contents: Recorder) -> Node:
    """100,000 files in one directory, 66,000 directories in another."""
    root, files, directories, one = directory(), directory(), directory(), file(contents, b"one")
    files.children = {
        b"file-%d" % number: one if number % 1000 == 0 else Node(stat.S_IFREG) for number in range(100_000)
    }
    directories.children = {b"%d" % number: directory() for number in range(66_000)}
    root.children = {
        b"files": files,
        b"directories": directories,
        b"large": file(contents, b"0" * MIB, 5 * GIB, b"1"),
    }
    return root


def test_large_directories(as_root: None, tmp_path: Path) -> None:
    image = tmp_path / "image"
    wanted, summary = written(image, 2 * GIB, large)
    assert summary.directories == 66_004
    fsck(image)
    require_same(mounted(image, 0, 2 * GIB), wanted)
    image.unlink()


@pytest.mark.parametrize("size", [blocks * 4096 for blocks in BLOCKS])
def test_what_mke2fs_says_of_the_same_size(size: int, tmp_path: Path) -> None:
    need("mke2fs", "dumpe2fs")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    written(ours, size, lambda contents: directory())
    by_mke2fs(theirs, size)
    mine, other = described(ours), described(theirs)
    differ = {name for name in mine.keys() | other.keys() if mine.get(name) != other.get(name)}
    assert differ <= {
        "Filesystem UUID", "Directory Hash Seed", "Checksum", "Lifetime writes",
        "Filesystem created", "Last write time", "Last checked",
    }, {name: (mine.get(name), other.get(name)) for name in differ}  # fmt: skip


FILL = """
mount -o loop "$1" $MNT
mkdir $MNT/new
for number in $(seq 1000); do echo $number > $MNT/many/new-file-$number; done
! cp --sparse=never /dev/zero $MNT/new/zeros 2> /dev/null
! touch $MNT/new/{1..100} 2> /dev/null
rm $MNT/new/zeros
for number in $(seq 1 2 1000); do rm $MNT/many/new-file-$number; done
cp -a $MNT/many $MNT/copy
setfattr -n user.more -v "$(printf %0300d 7)" $MNT/rights
mv $MNT/large $MNT/new/
umount $MNT
"""


def test_the_kernel_fills_it(as_root: None, tmp_path: Path) -> None:
    need("setfattr")
    image = tmp_path / "image"
    wanted, _ = written(image, 64 * MIB, zoo)
    privately(FILL, image)
    fsck(image)
    found = mounted(image, 0, 64 * MIB)
    kept = [path for path in wanted if path.startswith((b"d", b"sparse", b"acl", b"link", b"holes"))]
    require_same({path: found[path] for path in kept}, {path: wanted[path] for path in kept})
    assert found[b"new/large"].content == wanted[b"large"].content


REPLAY = """
mount -o loop "$1" $MNT
mkdir $MNT/new
for number in $(seq 500); do echo $number > $MNT/new/$number; done
sync
cp "$1" "$2"
umount $MNT
"""


def test_the_journal_is_replayed(as_root: None, tmp_path: Path) -> None:
    image, crashed = tmp_path / "image", tmp_path / "crashed"
    wanted, _ = written(image, 64 * MIB, zoo)
    privately(REPLAY, image, crashed)
    assert "needs_recovery" in described(crashed)["Filesystem features"]
    privately('mount -o loop "$1" $MNT; umount $MNT', crashed)
    fsck(crashed)
    found = mounted(crashed, 0, 64 * MIB)
    assert found[b"new/500"].size == 4
    require_same(
        {path: found[path] for path in wanted if path}, {path: wanted[path] for path in wanted if path}
    )


GROW = """
loop=$(losetup --show --find "$1")
trap 'umount -q $MNT || true; losetup -d $loop' EXIT
mount $loop $MNT
truncate -s "$2" "$1"
losetup -c $loop
if [ "$3" = online ]; then resize2fs $loop; else umount $MNT; e2fsck -fp $loop; resize2fs $loop; mount $loop $MNT; fi
mkdir $MNT/new; cp -a /usr/bin/. $MNT/new/
umount $MNT
"""


def may_grow_online() -> bool:
    """The kernel asks for CAP_SYS_RESOURCE, 24 (ext4_resize_begin() of fs/ext4/resize.c), which containers lack."""
    status = Path("/proc/self/status").read_text()
    found = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(found.split()[1], 16) >> 24 & 1)


@pytest.mark.parametrize("how", ["online", "offline"])
@pytest.mark.parametrize("size", [40 * MIB, 700 * MIB, 2 * GIB])
def test_it_grows_as_far_as_what_mke2fs_makes(size: int, how: str, as_root: None, tmp_path: Path) -> None:
    need("resize2fs")
    if how == "online" and not may_grow_online():
        pytest.skip("CAP_SYS_RESOURCE is missing; the boot tests grow theirs")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    wanted, _ = written(ours, size, zoo)
    by_mke2fs(theirs, size)
    for image in (ours, theirs):
        privately(GROW, image, str(20 * GIB), how)
        fsck(image)
    assert described(ours)["Block count"] == described(theirs)["Block count"] == str(20 * GIB // 4096)
    found = mounted(ours, 0, 20 * GIB)
    require_same(
        {path: found[path] for path in wanted if path}, {path: wanted[path] for path in wanted if path}
    )


def test_grub_reads_it(tmp_path: Path) -> None:
    need("grub-fstest")
    image = tmp_path / "image"
    content = os.urandom(3 * MIB + 17)

    def build(contents: Recorder) -> Node:
        kernel = file(contents, content)
        names = directory()
        names.children = {b"config-%d" % number: Node(stat.S_IFREG) for number in range(2000)} | {
            b"vmlinuz": kernel
        }
        sparse = file(contents, *(piece for _ in range(400) for piece in (content[:4096], 4096)))
        link = Node(stat.S_IFLNK | 0o777)
        link.target = b"boot/vmlinuz"
        return directory(boot=names, vmlinuz=link, sparse=sparse)

    written(image, 300 * MIB, build)
    for name, wanted in (
        ("boot/vmlinuz", content),
        ("vmlinuz", content),
        ("sparse", (content[:4096] + bytes(4096)) * 400),
    ):
        argv = ["grub-fstest", str(image), "cat", f"(loop0)/{name}"]
        assert subprocess.run(argv, check=True, capture_output=True).stdout == wanted


def test_debugfs_finds_the_names_by_their_hashes(tmp_path: Path) -> None:
    need("debugfs")
    image = tmp_path / "image"
    written(image, 64 * MIB, zoo)
    argv = ["debugfs", "-R", "dump /large /dev/stdout", str(image)]
    assert subprocess.run(argv, check=True, capture_output=True).stdout == bytes(range(256)) * 4096
    argv = ["debugfs", "-R", "htree_dump /many", str(image)]
    shown = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    assert "Hash Version: 1" in shown
    assert shown.count("Entry #") > 5

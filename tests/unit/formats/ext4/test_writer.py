"""What goes in comes out: read back by tests/support/readers/ext4_check.py, which checks every checksum and count."""

from __future__ import annotations

import stat

import pytest

from dibo.formats.ext4 import Ext4Error, NoSpace, Writer
from dibo.formats.ext4.data import HOLE
from dibo.tree.node import Node
from tests.support.disks.memory_disk import Disk, Recorder, directory, file, zoo
from tests.support.readers.ext4_check import Checker
from tests.unit.formats.ext4.conftest import MIB, SEED, TIME, UUID_OF_TESTS, made, parameters

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("size", [10 * MIB, 127 * MIB, 128 * MIB + 4096 * 40, 129 * MIB, 700 * MIB])
def test_one_of_everything(size: int) -> None:
    made(zoo, size)


def test_at_an_offset() -> None:
    made(zoo, offset=3 * MIB + 512)


def test_the_superblock_says_what_was_asked_for() -> None:
    checker, _ = made(lambda contents: directory(), 2048 * MIB, label="cloudimg-rootfs")
    sb = checker.superblock
    assert sb[0x68:0x78] == UUID_OF_TESTS.bytes
    assert sb[0x78:0x88].rstrip(b"\0") == b"cloudimg-rootfs"
    assert sb[0xEC:0xFC] == SEED.bytes
    assert {sb[at : at + 4] for at in (0x30, 0x40, 0x108)} == {TIME.to_bytes(4, "little")}
    assert checker.features == (0x3C, 0x2C2, 0x46B)
    assert int.from_bytes(sb[8:12], "little") == checker.blocks * 5 // 100


def test_what_mke2fs_makes_of_the_same_size() -> None:
    """mke2fs -t ext4 (1.47.0) with converters/raw/mke2fs.conf: inodes, reserved blocks, journal, overhead."""
    checker, _ = made(lambda contents: directory(), 2048 * MIB)
    sb = checker.superblock
    assert int.from_bytes(sb[0:4], "little") == 131072
    assert int.from_bytes(sb[0xCE:0xD0], "little") == 255
    assert checker.inode(8).size == 16384 * 4096
    assert int.from_bytes(sb[0x248:0x24C], "little") == 26150


def test_a_file_system_of_a_mebibyte_has_no_journal() -> None:
    checker, _ = made(lambda contents: directory(a=file(contents, b"a")), MIB)
    assert checker.features[0] == 0x38


def test_a_journal_as_asked_for() -> None:
    assert made(lambda contents: directory(), 16 * MIB, journal=False)[0].features[0] == 0x38
    assert made(lambda contents: directory(), 32 * MIB, journal=2000)[0].inode(8).size == 2000 * 4096


def test_at_least_as_many_inodes_as_asked_for() -> None:
    checker, _ = made(lambda contents: directory(), 300 * MIB, inodes=50_000)
    assert 50_000 <= checker.inodes_per_group * checker.groups < 50_100


def test_more_files_than_the_usual_number_of_inodes() -> None:
    def build(contents: Recorder) -> Node:
        node = directory()
        node.children = {b"%d" % number: Node(stat.S_IFREG) for number in range(3000)}
        return node

    checker, _ = made(build, 16 * MIB)
    assert checker.inodes_per_group >= 3000 * 5 // 4


def test_inodes_over_several_groups() -> None:
    def build(contents: Recorder) -> Node:
        node = directory()
        node.children = {
            b"%d" % number: directory() if number % 500 == 0 else Node(stat.S_IFREG) for number in range(9000)
        }
        return node

    checker, _ = made(build, 400 * MIB)
    assert checker.groups == 4
    assert [bool(group.flags & 1) for group in checker.group] == [False, False, True, True]


def test_a_group_with_as_many_inodes_as_it_can_have() -> None:
    def build(contents: Recorder) -> Node:
        node = directory()
        node.children = {b"%d" % number: Node(stat.S_IFREG) for number in range(32768 - 11)}
        return node

    checker, _ = made(build, 128 * MIB)
    assert (checker.groups, checker.inodes_per_group) == (1, 32768)
    assert checker.group[0].free_inodes == 0


def test_files_around_a_copy_of_the_superblock() -> None:
    def build(contents: Recorder) -> Node:
        return directory(
            a=file(contents, b"a" * (127 * MIB)), b=file(contents, *(b"%d" % n * 5000 for n in range(600)))
        )

    _, found = made(build, 300 * MIB)
    assert len(found.children[b"b"].inode.runs) == 2


def test_more_than_4_gib() -> None:
    def build(contents: Recorder) -> Node:
        return directory(a=file(contents, b"a" * 4096, 6 << 30, b"z"))

    _, found = made(build)
    assert found.children[b"a"].inode.sectors == 16


@pytest.mark.parametrize("count", [4, 5, 340 * 4, 340 * 4 + 1])
def test_extent_trees(count: int) -> None:
    def build(contents: Recorder) -> Node:
        return directory(a=file(contents, *(piece for _ in range(count) for piece in (b"x" * 4096, 4096))))

    _, found = made(build)
    inode = found.children[b"a"].inode
    assert inode.blocks == count + (0 if count == 4 else 1 if count == 5 else 4 if count == 1360 else 6)


def test_the_same_calls_give_the_same_bytes() -> None:
    disks = []
    for _ in range(2):
        disk = Disk(16 * MIB)
        writer = Writer(disk, parameters())
        writer.finish(zoo(writer))
        disks.append(disk.read(0, disk.size))
    assert disks[0] == disks[1]


def test_the_first_kibibyte_is_the_boot_loaders() -> None:
    disk = Disk(16 * MIB)
    disk.write(0, [b"boot" * 256])
    Writer(disk, parameters()).finish(directory())
    assert disk.read(0, 1024) == b"boot" * 256


def test_few_writes_for_many_files() -> None:
    disk = Disk(64 * MIB)
    writer = Writer(disk, parameters(64 * MIB))
    root = directory()
    root.children = {b"%d" % number: file(writer, b"x" * 3000) for number in range(3000)}
    writer.finish(root)
    assert disk.calls < 30


class TestContents:
    def test_buffers_may_change_after_flush(self) -> None:
        def build(contents: Recorder) -> Node:
            buffer = bytearray(b"first")
            first = file(contents, buffer)  # type: ignore[arg-type]
            contents.flush()
            buffer[:] = b"other"
            return directory(first=first, other=file(contents, buffer))  # type: ignore[arg-type]

        made(build)

    def test_what_was_released_is_free_and_reads_as_zeros(self) -> None:
        def build(contents: Recorder) -> Node:
            first = file(contents, b"1" * 50_000)
            second = file(contents, b"2" * 60_000)
            contents.release(first.content)
            return directory(second=second, third=file(contents, b"3" * 9))

        made(build)

    def test_an_unfinished_file_is_given_up(self) -> None:
        def build(contents: Recorder) -> Node:
            contents.begin(10_000)
            contents.write(b"x" * 5000)
            whole = file(contents, b"whole")
            contents.begin(10_000)
            contents.skip(3000)
            contents.write(b"x" * 5000)
            return directory(whole=whole)

        made(build)

    def test_the_file_at_hand_can_be_released(self) -> None:
        def build(contents: Recorder) -> Node:
            content = contents.begin(10_000)
            contents.write(b"x" * 5000)
            contents.release(content)
            return directory(whole=file(contents, b"whole"))

        made(build)

    def test_content_that_no_node_has_is_an_error(self) -> None:
        writer = Writer(Disk(16 * MIB), parameters())
        writer.store(b"lost")
        with pytest.raises(Ext4Error, match="in no tree"):
            writer.finish(directory())

    def test_content_of_two_nodes_is_an_error(self) -> None:
        writer = Writer(Disk(16 * MIB), parameters())
        first, second = file(writer, b"x"), Node(stat.S_IFREG)
        second.content = first.content
        with pytest.raises(Ext4Error, match="/b: its content is another file's"):
            writer.finish(directory(a=first, b=second))

    @pytest.mark.parametrize("how", ["unfinished", "released", "foreign"])
    def test_content_that_is_not_there_is_an_error(self, how: str) -> None:
        writer = Writer(Disk(16 * MIB), parameters())
        node = Node(stat.S_IFREG)
        node.content = writer.begin(5) if how != "foreign" else object()
        if how == "released":
            writer.write(b"12345")
            writer.release(node.content)
        with pytest.raises(Ext4Error, match="/a: its content was released, never finished"):
            writer.finish(directory(a=node))

    def test_too_much_and_too_large(self) -> None:
        writer = Writer(Disk(16 * MIB), parameters())
        writer.begin(3)
        with pytest.raises(Ext4Error, match="4 bytes for a file of which 3"):
            writer.write(b"1234")
        with pytest.raises(Ext4Error, match="hole of 4"):
            writer.skip(4)
        with pytest.raises(Ext4Error, match="ext4 holds up to"):
            writer.begin(1 << 44)


class TestNoSpace:
    def fill(self, size: int, files: int) -> None:
        disk = Disk(size)
        writer = Writer(disk, parameters(size))
        root = directory()
        data = b"x" * 20_000
        root.children = {b"%d" % number: file(writer, data) for number in range(files)}
        writer.finish(root)
        Checker(disk.read).check()

    @pytest.mark.parametrize("files", [50, 250, 2000, 8000])
    def test_says_how_much_is_missing(self, files: int) -> None:
        with pytest.raises(NoSpace) as caught:
            self.fill(MIB, files)
        missing = caught.value.missing
        self.fill(MIB + missing, files)
        with pytest.raises(NoSpace):
            self.fill(MIB + missing - max(65536, missing // 100 // 4096 * 4096), files)

    def test_of_inodes(self) -> None:
        root = directory()
        root.children = {b"%d" % number: Node(stat.S_IFREG) for number in range(33_000)}
        with pytest.raises(NoSpace) as caught:
            Writer(Disk(64 * MIB), parameters(64 * MIB)).finish(root)
        size = 64 * MIB + caught.value.missing
        disk = Disk(size)
        Writer(disk, parameters(size)).finish(root)
        Checker(disk.read).check()

    def test_overflow_is_known_at_once(self) -> None:
        writer = Writer(Disk(MIB), parameters(MIB))
        writer.store(b"x" * 900_000)
        assert writer.overflow == 0
        content = writer.store(b"x" * 900_000)
        assert 700_000 < writer.overflow < 900_000
        writer.release(content)
        assert writer.overflow == 0


class TestLostAndFound:
    def test_of_the_tree_is_kept(self) -> None:
        def build(contents: Recorder) -> Node:
            lost = directory(0o711, mtime=77, a=file(contents, b"a"))
            root = directory(z=directory())
            assert root.children is not None
            root.children = {b"a": Node(stat.S_IFREG), b"lost+found": lost, **root.children}
            return root

        _, found = made(build)
        assert found.children[b"lost+found"].inode.number == 11
        assert found.children[b"lost+found"].inode.size == 16384

    def test_that_is_no_directory(self) -> None:
        def build(contents: Recorder) -> Node:
            root = directory(z=directory())
            assert root.children is not None
            root.children[b"lost+found"] = file(contents, b"a")
            return root

        made(build)

    def test_that_is_indexed(self) -> None:
        def build(contents: Recorder) -> Node:
            root, lost = directory(), directory()
            lost.children = {b"%d" % number: Node(stat.S_IFIFO) for number in range(1000)}
            root.children = {b"lost+found": lost}
            return root

        made(build)


def test_long_zeros_become_holes_whatever_the_pieces() -> None:
    """Of a file from a layer, which holds zeros where the builder's file had a hole."""
    zeros = bytes(3 * HOLE)
    content = b"a" * 100 + zeros + b"b" * HOLE + zeros + bytes(4097)
    layouts = []
    for piece in (512, 5000, 65_536, 100_000, len(content)):
        pieces = [content[at : at + piece] for at in range(0, len(content), piece)]

        def build(contents: Recorder, pieces: list[bytes] = pieces) -> Node:
            return directory(a=file(contents, *pieces), b=file(contents, b"small" + bytes(HOLE - 5)))

        _, found = made(build)
        layouts.append(found.children[b"a"].inode.runs)
        assert found.children[b"b"].inode.sectors == HOLE // 512
    assert layouts == layouts[:1] * len(layouts)
    assert sum(count for _, _, count in layouts[0]) * 4096 <= 4 * HOLE


@pytest.mark.parametrize("piece", [100, 4090, 70_000, MIB])
def test_a_swap_file_has_no_holes(piece: int) -> None:
    content = bytes(4086) + b"SWAPSPACE2" + bytes(MIB - 4096)
    pieces = [content[at : at + piece] for at in range(0, MIB, piece)]
    _, found = made(lambda contents: directory(swap=file(contents, *pieces)), 16 * MIB)
    assert found.children[b"swap"].inode.sectors == MIB // 512


def test_a_file_of_zeros_takes_no_space() -> None:
    _, found = made(lambda contents: directory(a=file(contents, *[bytes(MIB)] * 100)), 16 * MIB)
    assert found.children[b"a"].inode.sectors == 0


def test_a_hole_within_zeros() -> None:
    made(
        lambda contents: directory(a=file(contents, bytes(100), 70_000, bytes(70_000), b"x", bytes(200_000)))
    )

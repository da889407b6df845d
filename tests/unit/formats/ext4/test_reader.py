"""The reader of ext4, on file systems that dibo writes; tests/integration/test_get_kernel.py has those of mke2fs."""

from __future__ import annotations

import struct
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dibo.errors import DiskImageError
from dibo.formats.ext4.reader import Ext
from dibo.formats.ext4.reader_blocks import extents, indirect
from dibo.formats.filesystem import Kind, find, names_in
from dibo.tree.node import Contents, Node
from tests.support.disks.boot_disks import FILES, KERNEL, UUID, Bytes, ext4, read, survives
from tests.support.disks.memory_disk import directory, file, symlink
from tests.support.requirements import need

pytestmark = pytest.mark.slow

DISK = ext4()


def test_files_directories_and_links() -> None:
    system = Ext(Bytes(DISK))
    assert (system.kind, system.label, system.uuid) == ("ext4", "cloudimg-rootfs", UUID)
    assert not system.needs_recovery
    assert read(system, "/vmlinuz") == KERNEL
    for path, value in FILES.items():
        if isinstance(value, bytes):
            assert read(system, path) == value
    assert names_in(system, "/") == (b"boot", b"etc", b"lost+found", b"usr", b"vmlinuz")
    assert find(system, "/boot/nothing") is None
    assert find(system, "/etc/fstab/x") is None


def test_holes_fragments_long_links_and_large_directories() -> None:
    pieces = [piece for _ in range(400) for piece in (4096, b"x" * 4096)]

    def build(contents: Contents) -> Node:
        root = directory(holes=file(contents, *pieces, 10_000), hole=file(contents, 3_000_000))
        assert root.children is not None
        many = root.children[b"many"] = directory()
        assert many.children is not None
        for number in range(900):
            many.children[b"file-%04d" % number] = file(contents, b"%d" % number)
        root.children[b"link"] = symlink(b"many/" + b"./" * 100 + b"../many/file-0007")
        root.children[b"circle"] = symlink(b"circle")
        return root

    system = Ext(Bytes(ext4(build=build, size=16 << 20)))
    assert read(system, "holes") == b"".join(
        bytes(piece) if isinstance(piece, int) else piece for piece in [*pieces, 10_000]
    )
    assert read(system, "hole") == bytes(3_000_000)
    assert len(names_in(system, "many")) == 900
    assert read(system, "link") == b"7"
    assert find(system, "circle") is None
    link = system.lookup(system.root, b"link")
    assert link is not None
    assert link.kind is Kind.LINK


def changed(at: int, value: bytes) -> bytearray:
    disk = bytearray(DISK)
    disk[1024 + at : 1024 + at + len(value)] = value
    return disk


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (0x60, b"\xff\xff\xff\xff", "features"),
        (0x60, (0x2C2 | 0x8).to_bytes(4, "little"), "features that dibo does not know: 0x8"),
        (0x18, b"\x07", "blocks of 2\\^17"),
        (0x58, b"\x00\x00", "superblock"),
        (0x58, b"\xff\xff", "superblock"),
        (0x28, b"\0\0\0\0", "superblock"),
        (0x20, b"\0\0\0\0", "superblock"),
        (0xFE, b"\0\0", "superblock"),
    ],
)
def test_superblocks_that_make_no_sense(at: int, value: bytes, words: str) -> None:
    with pytest.raises(DiskImageError, match=words):
        Ext(Bytes(changed(at, value)))


def test_a_journal_that_waits() -> None:
    assert Ext(Bytes(changed(0x60, (0x2C2 | 0x4).to_bytes(4, "little")))).needs_recovery


def test_an_encrypted_file_and_one_within_its_inode() -> None:
    system = Ext(Bytes(DISK))
    entry = find(system, "/vmlinuz")
    assert entry is not None
    number = entry.handle.number  # type: ignore[attr-defined]
    for flag, words in ((0x800, "encrypted"), (0x10000000, "less in it than its size says")):
        disk = bytearray(DISK)
        at = system._table(0) * 4096 + (number - 1) * 256 + 0x20
        disk[at : at + 4] = (struct.unpack_from("<I", disk, at)[0] | flag).to_bytes(4, "little")
        with pytest.raises(DiskImageError, match=words):
            read(Ext(Bytes(disk)), "/vmlinuz")


def node(entries: bytes, count: int, depth: int) -> bytes:
    return (struct.pack("<HHHHI", 0xF30A, count, 340, depth, 0) + entries).ljust(4096, b"\0")


def test_trees_of_extents_that_go_in_circles_or_back() -> None:
    itself = node(struct.pack("<IIHH", 0, 7, 0, 0) * 300, 300, 1)
    with pytest.raises(DiskImageError, match="damaged"):
        list(extents(itself, lambda _: itself, 100))
    backwards = node(struct.pack("<IHHI", 8, 2, 0, 50) + struct.pack("<IHHI", 9, 2, 0, 60), 2, 0)
    with pytest.raises(DiskImageError, match="out of order"):
        list(extents(backwards, lambda _: b"", 100))
    with pytest.raises(DiskImageError, match="400 entries"):
        list(extents(node(b"", 400, 0), lambda _: b"", 100))
    unwritten = node(struct.pack("<IHHI", 0, 32768 + 4, 0, 50) + struct.pack("<IHHI", 4, 9, 0, 60), 2, 0)
    assert list(extents(unwritten, lambda _: b"", 10)) == [(4, 60, 6)]


def test_blocks_of_block_numbers_all_the_same() -> None:
    """Three levels that all lead to one block end when the file does."""
    root = struct.pack("<15I", *range(100, 112), 5, 5, 5)
    runs = list(indirect(root, lambda _: struct.pack("<1024I", *[5] * 1024), 3000))
    assert runs[0] == (0, 100, 12)
    assert sum(count for _, _, count in runs) == 3000
    sparse = struct.pack("<15I", 0, 7, 8, *[0] * 12)
    assert list(indirect(sparse, lambda _: bytes(4096), 1 << 20)) == [(1, 7, 2)]


def test_whatever_is_broken_is_an_error_or_none() -> None:
    system = Ext(Bytes(DISK))
    table = system._table(0) * 4096

    def use(disk: bytearray) -> None:
        broken = Ext(Bytes(disk))
        for path in ("/boot", "/"):
            names_in(broken, path)
        for path in ("/vmlinuz", "/boot/grub/grub.cfg"):
            entry = find(broken, path)
            if entry is not None and entry.size < 1 << 22:
                read(broken, path)

    places = [range(1024, 2048), range(4096, 4096 + 64), range(table + 256, table + 256 * 24)]
    places.append(range(DISK.index(b"grub.cfg") - 40, DISK.index(b"grub.cfg") + 20))
    places.append(range(DISK.index(b"initrd.img-6.1.0-13") - 100, DISK.index(b"initrd.img-6.1.0-13") + 200))
    assert survives(DISK, use, times=400, near=places) > 20


def by_mke2fs(directory: Path, path: Path, *options: str) -> Path:
    need("mke2fs")
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", *options, "-d", str(directory), str(path), "64M"]
    subprocess.run(argv, check=True, capture_output=True)
    return path


def test_files_and_directories_within_their_inodes(tmp_path: Path) -> None:
    """inline_data: up to 60 bytes, and with what an attribute holds."""
    top = tmp_path / "top"
    texts = {f"boot/grub/{size}": "x" * (size - 1) + "y" for size in (1, 59, 60, 61, 100, 150, 3000)}
    for name, text in texts.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    (top / "boot/link").symlink_to("grub/" + "./" * 40 + "100")
    image = by_mke2fs(top, tmp_path / "image", "-O", "inline_data", "-I", "256")
    system = Ext(Bytes(image.read_bytes()))
    grub = find(system, "boot")
    assert grub is not None and grub.handle.flags & 0x10000000  # type: ignore[attr-defined]
    assert {name: read(system, name).decode() for name in texts} == texts
    assert read(system, "boot/link").decode() == texts["boot/grub/100"]
    assert names_in(system, "boot") == (b"grub", b"link")


@pytest.mark.parametrize("options", [("-O", "bigalloc", "-C", "16384"), ("-O", "ea_inode"), ()])
def test_short_links_with_attributes_in_a_block(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Their block counts as one of the inode, as a cluster, or is another inode."""
    need("debugfs")
    top = tmp_path / "top"
    top.mkdir()
    (top / "real").write_text("text")
    (top / "link").symlink_to("real")
    image = by_mke2fs(top, tmp_path / "image", *options)
    value = tmp_path / "value"
    value.write_bytes(b"v" * 3000)
    command = f"ea_set -f {value} /link user.large"
    subprocess.run(["debugfs", "-w", "-R", command, str(image)], check=True, capture_output=True)
    assert read(Ext(Bytes(image.read_bytes())), "link") == b"text"


@pytest.mark.parametrize("year", [1902, 1969, 2030, 2100, 2400])
def test_times_are_read_as_they_were_written(year: int) -> None:
    seconds = int(datetime(year, 1, 2, tzinfo=UTC).timestamp())
    system = Ext(Bytes(ext4(build=lambda contents: directory(a=directory(mtime=seconds * 10**9)))))
    entry = find(system, "a")
    assert entry is not None and entry.attributes[3] == seconds

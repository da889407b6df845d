"""What goes in comes out: read back by tests/support/readers/erofs_reader.py, and by fsck.erofs."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from dibo.formats.erofs import ErofsError, ErofsWriter, data
from dibo.formats.erofs.data import MOST_INLINE
from dibo.formats.raw import GrowingFile
from dibo.tree.node import Node
from tests.support.disks.memory_disk import Disk, Recorder, directory, file, symlink, zoo
from tests.support.readers.erofs_reader import ErofsReader
from tests.support.requirements import need
from tests.unit.formats.erofs.conftest import MIB, PARAMETERS, compare, made

BLOCK = 4096


def names_of(files: dict[str, Node]) -> Node:
    root = directory()
    root.children = {name.encode(): node for name, node in files.items()}
    return root


def small_zoo(contents: Recorder) -> Node:
    root = zoo(contents)
    assert root.children is not None
    del root.children[b"hole"]  # of 5 GB: its blocks are in the image, but of no file
    return root


def sizes(contents: Recorder) -> Node:
    """Files around every limit."""
    edges = {0, 1, MOST_INLINE, BLOCK, 2 * BLOCK, BLOCK + MOST_INLINE, 17 * BLOCK, 300_000}
    numbers = sorted({size + more for size in edges for more in (-1, 0, 1) if size + more > 0})
    return names_of({f"f{size}": file(contents, os.urandom(size)) for size in numbers})


def test_one_of_everything() -> None:
    made(small_zoo)


def test_files_of_every_size() -> None:
    made(sizes)


def test_the_superblock_says_what_was_asked_for() -> None:
    reader, _ = made(lambda contents: directory())
    assert (reader.uuid, reader.label, reader.time) == (PARAMETERS.uuid.bytes, b"root", PARAMETERS.time)


def test_ends_of_files_take_no_block_of_their_own() -> None:
    _, disk = made(lambda contents: names_of({f"f{n}": file(contents, b"x" * 500) for n in range(70)}))
    assert disk.size == 12 * BLOCK  # up to 7 inodes in each


def test_ends_of_files_that_memory_has_no_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "TAILS_IN_MEMORY", 1000)
    _, disk = made(lambda contents: names_of({f"f{n}": file(contents, b"x" * 500) for n in range(70)}))
    assert disk.size == (1 + 68 + 2) * BLOCK


def test_zeros_are_not_written() -> None:
    pieces = (b"a" * 70_000, bytes(200_000), b"b" * 100, bytes(65536 * 3), b"c")
    _, disk = made(lambda contents: directory(a=file(contents, *pieces), b=file(contents, b"".join(pieces))))
    assert sum(end - start for start, end in disk.written) < 500_000


def test_attributes_of_every_size() -> None:
    def build(contents: Recorder) -> Node:
        files = {
            f"f{size}": file(contents, b"x" * MOST_INLINE) for size in (1, 100, 200, 230, 240, 250, 65535)
        }
        for name, node in files.items():
            node.xattrs = {b"user.a": b"v" * int(name[1:]), b"security.selinux": b"label"}
        many = files["many"] = file(contents, b"x")
        many.xattrs = {b"user.%d" % number: b"shared" for number in range(61)}
        return names_of(files)

    made(build)


def test_what_was_given_up_leaves_no_bytes() -> None:
    disk = Disk(MIB)
    writer = ErofsWriter(disk, PARAMETERS)
    recorder = Recorder(writer)
    secret = file(recorder, b"secret" * 2000)
    first = file(recorder, b"first" * 2000)
    recorder.release(secret.content)
    recorder.release(secret.content)
    recorder.begin(100_000)
    recorder.write(b"given up" * 700)
    root = directory(first=first, last=file(recorder, b"last" * 2000))
    disk.size = writer.finish(root).size
    compare(ErofsReader(disk.read), root, recorder)
    image = disk.read(0, disk.size)
    assert b"secret" not in image
    assert b"given up" not in image


def test_the_stream_begins_anew() -> None:
    disk = Disk(2 * MIB)
    writer = ErofsWriter(disk, PARAMETERS)
    file(writer, b"of the first time" * 1000)
    file(writer, b"small")
    writer.restart()
    recorder = Recorder(writer)
    root = sizes(recorder)
    disk.size = writer.finish(root).size
    compare(ErofsReader(disk.read), root, recorder)
    assert b"of the first time" not in disk.read(0, disk.size)


def test_the_same_calls_give_the_same_bytes() -> None:
    (_, first), (_, second) = made(small_zoo), made(small_zoo)
    assert (first.blocks, first.size) == (second.blocks, second.size)


def refused(root: Node) -> str:
    with pytest.raises(ErofsError) as caught:
        ErofsWriter(Disk(MIB), PARAMETERS).finish(root)
    return str(caught.value)


def test_what_erofs_cannot_hold() -> None:
    for name in (b"", b".", b"a/b", b"a\0b", b"n" * 256):
        root = directory()
        root.children = {name: Node(stat.S_IFREG)}
        assert "cannot be the name of a file" in refused(root)
    both = directory()
    assert "has two names" in refused(directory(a=both, b=both))
    assert "symbolic link to a path of 4096 bytes" in refused(directory(a=symlink(b"x" * 4096)))
    assert "unknown type, mode 0" in refused(directory(a=Node(0)))
    for name, value, message in (
        (b"system.nfs4_acl", b"", "'system.nfs4_acl': erofs cannot have one of this name"),
        (b"user.a", bytes(65536), "'user.a' has 65536 bytes"),
    ):
        node = Node(stat.S_IFREG)
        node.xattrs = {name: value}
        assert message in refused(directory(a=node))
    node = Node(stat.S_IFREG)
    node.xattrs = {b"user.%d" % number: bytes(9) for number in range(62)}
    assert "62 extended attributes" in refused(directory(a=node))
    node = Node(stat.S_IFREG, uid=2**32)
    assert "numbers that erofs cannot hold" in refused(directory(a=node))


def test_wrong_calls() -> None:
    writer = ErofsWriter(Disk(MIB), PARAMETERS)
    with pytest.raises(ErofsError, match="up to 16 TiB"):
        writer.begin(2**45)
    writer.begin(3)
    with pytest.raises(ErofsError, match="4 bytes for a file of which 3 are missing"):
        writer.write(b"four")
    with pytest.raises(ErofsError, match="a hole of 4 bytes"):
        writer.skip(4)
    with pytest.raises(ErofsError, match="not what begin"):
        writer.release("content")
    node = file(writer, b"x")
    twin = Node(stat.S_IFREG)
    twin.content = node.content
    with pytest.raises(ErofsError, match="belongs to another file"):
        writer.finish(directory(a=node, b=twin))
    with pytest.raises(ErofsError, match="longer than 16 bytes"):
        ErofsWriter(Disk(MIB), type(PARAMETERS)(label="x" * 17, uuid=PARAMETERS.uuid))


def test_fsck_extracts_the_same(tmp_path: Path) -> None:
    need("fsck.erofs", "dump.erofs")
    image, out = tmp_path / "image", tmp_path / "out"
    with GrowingFile(image) as target:
        writer = ErofsWriter(target, PARAMETERS)
        recorder = Recorder(writer)
        root = directory(s=sizes(recorder), z=small_zoo(recorder))
        target.end(writer.finish(root).size)
    argv = ["fsck.erofs", f"--extract={out}", "--no-preserve", str(image)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    todo = [(out, root)]
    while todo:
        path, node = todo.pop()
        if node.children is not None:
            assert {os.fsencode(entry.name) for entry in path.iterdir()} == set(node.children)
            todo += [(path / os.fsdecode(name), child) for name, child in node.children.items()]
        elif stat.S_ISLNK(node.mode):
            assert os.fsencode(path.readlink()) == node.target
        elif stat.S_ISREG(node.mode):
            data = path.read_bytes()
            assert len(data) == node.size
            blocks = recorder.blocks(node)
            for offset in range(0, node.size, BLOCK):
                assert data[offset : offset + BLOCK].ljust(BLOCK, b"\0") == blocks.get(offset, bytes(BLOCK))
    dumped = subprocess.run(["dump.erofs", "-s", str(image)], capture_output=True, text=True, check=True)
    assert str(PARAMETERS.uuid) in dumped.stdout
    assert "sb_csum mtime" in dumped.stdout

"""Writing trees to a disk in memory, and reading them back with the other reader."""

from __future__ import annotations

import stat
from collections.abc import Callable
from uuid import UUID

from dibo.formats.ext4 import Parameters, Writer
from dibo.tree.node import Node
from tests.support.disks.memory_disk import Disk, Recorder
from tests.support.readers.ext4_check import CheckedNode, Checker

UUID_OF_TESTS = UUID("0f0e0d0c-0b0a-4908-8706-050403020100")
SEED = UUID("a1b2c3d4-0000-4000-8000-feedfacecafe")
MIB = 1 << 20
TIME = 1_700_000_000


def parameters(size: int = 16 * MIB, **more: object) -> Parameters:
    return Parameters(size=size, uuid=UUID_OF_TESTS, hash_seed=SEED, time=TIME, **more)  # type: ignore[arg-type]


def made(
    build: Callable[[Recorder], Node], size: int = 16 * MIB, **more: object
) -> tuple[Checker, CheckedNode]:
    """The tree that `build` makes, written, checked and compared with what is read."""
    chosen = parameters(size, **more)
    disk = Disk(chosen.offset + size)
    writer = Writer(disk, chosen)
    recorder = Recorder(writer)
    root = build(recorder)
    writer.finish(root)
    checker = Checker(disk.read, chosen.offset)
    found = checker.check()
    compare(checker, recorder, root, found)
    return checker, found


def differences(blocks: dict[int, bytes], wanted: dict[int, bytes]) -> list[int]:
    """The offsets of blocks that are not as wanted; blocks of zeros may have become holes."""
    offsets = sorted(blocks.keys() | wanted.keys())
    return [offset for offset in offsets if blocks.get(offset, bytes(4096)) != wanted.get(offset)]


def compare(checker: Checker, recorder: Recorder, root: Node, found: CheckedNode) -> None:
    """Entry by entry. lost+found is there besides."""
    numbers: dict[int, int] = {}
    todo = [(b"", root, found)]
    while todo:
        path, node, other = todo.pop()
        inode = other.inode
        assert (inode.mode, inode.uid, inode.gid, inode.mtime) == (
            node.mode,
            node.uid,
            node.gid,
            node.mtime,
        ), path
        assert inode.xattrs == (node.xattrs or {}), path
        assert numbers.setdefault(id(node), inode.number) == inode.number, path
        if node.children is not None:
            extra = {b"lost+found"} if node is root and b"lost+found" not in node.children else set()
            assert other.children.keys() == node.children.keys() | extra, path
            todo += [
                (path + b"/" + name, child, other.children[name]) for name, child in node.children.items()
            ]
        elif stat.S_ISLNK(node.mode):
            assert other.target == node.target, path
        elif stat.S_ISREG(node.mode):
            assert inode.size == node.size, path
            assert differences(dict(checker.pieces(inode)), recorder.blocks(node)) == [], path
        elif stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode):
            assert other.device == node.device, path

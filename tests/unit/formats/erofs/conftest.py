"""Writing trees to a disk in memory, and reading them back with the tests' own reader."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from dibo.formats.erofs import ErofsParameters, ErofsWriter
from dibo.tree.node import Node
from tests.properties.tree_strategies import value
from tests.support.disks.memory_disk import Disk, Recorder
from tests.support.readers.erofs_reader import ErofsReader

MIB = 1 << 20
PARAMETERS = ErofsParameters(
    label="root", uuid=UUID("0f0e0d0c-0b0a-4908-8706-050403020100"), time=1_700_000_000
)


def made(build: Callable[[Recorder], Node]) -> tuple[ErofsReader, Disk]:
    """The tree that `build` makes, written, read and compared. No byte is written twice: the disk sees to that."""
    disk = Disk(1 << 44)
    writer = ErofsWriter(disk, PARAMETERS)
    recorder = Recorder(writer)
    root = build(recorder)
    summary = writer.finish(root)
    assert max(end for _, end in disk.written) <= summary.size
    disk.size = summary.size
    reader = ErofsReader(disk.read)
    assert reader.blocks * 4096 == summary.size
    compare(reader, root, recorder)
    return reader, disk


def compare(reader: ErofsReader, root: Node, recorder: Recorder) -> None:
    def filled(blocks: object) -> bytes:
        assert isinstance(blocks, dict)
        return repr(sorted((offset, block) for offset, block in blocks.items() if any(block))).encode()

    expected = value(root, lambda node: filled(recorder.blocks(node)))
    actual = value(reader.tree(), lambda node: filled(node.content))
    assert actual.keys() == expected.keys()
    for path, entry in expected.items():
        if not expected[path][7]:
            assert actual[path][7] in (b"", b"[]"), path
        assert actual[path][:7] + actual[path][8:] == entry[:7] + entry[8:], path
        assert not entry[7] or actual[path][7] == entry[7], path

"""Any tree goes through ext4 and comes back; any pieces of files lie where they should."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dibo.formats.ext4 import Content, Writer
from dibo.formats.ext4.hashes import hash_names
from tests.properties.tree_strategies import NAMES, roots
from tests.support.disks.memory_disk import Disk, Recorder, directory, file
from tests.support.readers.ext4_check import Checker, name_hash
from tests.unit.formats.ext4.conftest import MIB, compare, parameters

BLOCK = 4096
PIECES = st.lists(
    st.one_of(
        st.integers(0, 3 * BLOCK),
        st.tuples(st.binary(min_size=1, max_size=3), st.integers(1, BLOCK)).map(
            lambda made: made[0] * made[1]
        ),
    ),
    max_size=6,
)


@settings(max_examples=60)
@given(st.data())
def test_any_tree_comes_back(data: st.DataObject) -> None:
    disk = Disk(4 * MIB)
    writer = Writer(disk, parameters(4 * MIB))
    recorder = Recorder(writer)
    root = data.draw(roots(recorder))
    writer.finish(root)
    checker = Checker(disk.read)
    compare(checker, recorder, root, checker.check())


@settings(max_examples=30)
@given(st.sets(NAMES, min_size=1), st.integers(1, 150), st.integers(0, 6))
def test_any_directory_comes_back(names: set[bytes], copies: int, length: int) -> None:
    disk = Disk(8 * MIB)
    writer = Writer(disk, parameters(8 * MIB))
    recorder = Recorder(writer)
    one = file(recorder, b"one")
    inner = directory()
    inner.children = {
        name[: 255 - 10 * length] + b"%d" % n * length: one for name in names for n in range(copies)
    }
    root = directory(d=inner)
    writer.finish(root)
    checker = Checker(disk.read)
    compare(checker, recorder, root, checker.check())


@settings(max_examples=60)
@given(
    st.lists(st.tuples(PIECES, st.sampled_from(["keep", "keep", "release", "abandon", "flush"])), max_size=8),
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), min_size=1, max_size=12),
)
def test_files_lie_around_what_is_in_the_way(
    files: list[tuple[list[bytes | int], str]], places: list[tuple[int, int]]
) -> None:
    """Gaps of a few blocks in place of those between copies of the superblock."""
    disk = Disk(MIB)
    writer = Writer(disk, parameters(MIB))
    gaps, at = [], 1
    for taken, free in places:
        gaps.append((at + taken, at + taken + free))
        at += taken + free
    writer._gaps = gaps
    writer._next, writer._gap_end = gaps[0]
    writer._at = gaps[0][0] * BLOCK
    recorder = Recorder(writer)
    kept = []
    for pieces, fate in files:
        if fate == "abandon":
            writer.begin(100_000)
            writer.write(b"given up" * 700)
            continue
        node = file(recorder, *pieces)
        if fate == "release":
            recorder.release(node.content)
        else:
            kept.append(node)
        if fate == "flush":
            writer.flush()
    writer.begin(0)
    writer.flush()
    room = {block for start, end in gaps for block in range(start, end)}
    seen: set[int] = set()
    for node in kept:
        content = node.content
        assert isinstance(content, Content)
        assert content.runs is not None
        wanted = recorder.blocks(node)
        assert sum(count for _, _, count in content.runs) == len(wanted)
        for logical, start, count in content.runs:
            for number in range(count):
                block = start + number
                assert block not in seen
                seen.add(block)
                if block >= at:
                    assert writer.overflow > 0
                    continue
                assert block in room
                assert disk.read(block * BLOCK, BLOCK) == wanted[(logical + number) * BLOCK]
    for start, end in writer._freed:
        assert not any(disk.read(start * BLOCK, (end - start) * BLOCK))


@given(st.lists(st.binary(min_size=1, max_size=255), max_size=20), st.binary(min_size=16, max_size=16))
def test_hashes_side_by_side_are_those_of_one_by_one(names: list[bytes], seed: bytes) -> None:
    words = tuple(int.from_bytes(seed[at : at + 4], "little") for at in range(0, 16, 4))
    if any(words):
        assert hash_names(names, seed) == [name_hash(name, words) for name in names]

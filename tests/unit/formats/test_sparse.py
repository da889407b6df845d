from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dibo.formats.sparse import BLOCK, is_zero, put
from tests.unit.disk.sample_requests import Memory, Recorder, zero_blocks

pieces = st.lists(st.tuples(st.booleans(), st.integers(1, 3 * BLOCK)), max_size=6)


def content(parts: list[tuple[bool, int]]) -> bytes:
    return b"".join((b"x" if full else b"\0") * length for full, length in parts)


@given(parts=pieces, offset=st.integers(0, 2 * BLOCK))
def test_put_is_a_write_to_a_disk_of_zeros(parts: list[tuple[bool, int]], offset: int) -> None:
    data = content(parts)
    target = Memory(offset + len(data) + 10)
    put(target, offset, data)
    assert target.data == bytes(offset) + data + bytes(10)


@given(parts=pieces, offset=st.integers(0, 2 * BLOCK))
def test_put_writes_no_block_of_zeros(parts: list[tuple[bool, int]], offset: int) -> None:
    target = Memory(offset + 20 * BLOCK)
    put(target, offset, content(parts))
    assert zero_blocks(target.writes) == []


def test_put_writes_neighbours_together() -> None:
    target = Memory(10 * BLOCK)
    put(target, BLOCK, b"a" * 3 * BLOCK + bytes(BLOCK) + b"b")
    assert [(offset, len(data)) for offset, data in target.writes] == [(BLOCK, 3 * BLOCK), (5 * BLOCK, 1)]


def test_holes_take_no_space(tmp_path: Path) -> None:
    with Recorder(tmp_path / "disk", 8 << 20) as target:
        put(target, 0, b"a" + bytes(8 << 20)[:-2] + b"z")
    assert (tmp_path / "disk").stat().st_blocks * 512 <= 4 * BLOCK


@given(st.integers(0, 3 << 20), st.integers(0, 3 << 20))
def test_zero_or_not(size: int, place: int) -> None:
    data = bytearray(size)
    assert is_zero(data)
    if place < size:
        data[place] = 1
        assert not is_zero(data)
        assert not is_zero(memoryview(data)[place:])
        assert is_zero(memoryview(bytes(data))[:place])

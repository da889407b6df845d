from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dibo.disk.sparse import BLOCK, put
from tests.unit.disk.samples import Recorder, zero_blocks

pieces = st.lists(st.tuples(st.booleans(), st.integers(1, 3 * BLOCK)), max_size=6)


def content(parts: list[tuple[bool, int]]) -> bytes:
    return b"".join((b"x" if full else b"\0") * length for full, length in parts)


@given(parts=pieces, offset=st.integers(0, 2 * BLOCK))
def test_put_is_a_write_to_a_file_of_zeros(parts: list[tuple[bool, int]], offset: int) -> None:
    data = content(parts)
    target = io.BytesIO(bytes(offset + len(data) + 10))
    put(target, offset, data)
    assert target.getvalue() == bytes(offset) + data + bytes(10)


@given(parts=pieces, offset=st.integers(0, 2 * BLOCK))
def test_put_writes_no_block_of_zeros(parts: list[tuple[bool, int]], offset: int) -> None:
    writes: list[tuple[int, bytes]] = []

    class Target(io.BytesIO):
        def write(self, data: Any, /) -> int:
            writes.append((self.tell(), bytes(data)))
            return super().write(data)

    put(Target(bytes(offset + 20 * BLOCK)), offset, content(parts))
    assert zero_blocks(writes) == []


def test_put_finishes_what_an_unbuffered_file_takes_in_parts() -> None:
    class Slow(io.BytesIO):
        def write(self, data: Any, /) -> int:
            return super().write(data[:100])

    target = Slow(bytes(1000))
    put(target, 10, b"y" * 900)
    assert target.getvalue() == bytes(10) + b"y" * 900 + bytes(90)


def test_holes_take_no_space(tmp_path: Path) -> None:
    with Recorder(str(tmp_path / "disk")) as target:
        target.truncate(8 << 20)
        put(target, 0, b"a" + bytes(8 << 20)[:-2] + b"z")
    assert (tmp_path / "disk").stat().st_blocks * 512 <= 4 * BLOCK

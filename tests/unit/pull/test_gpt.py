"""Partition tables, judged by sgdisk and sfdisk."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from pull import gpt
from pull.errors import PullError
from tests.support.disks.gpt_disks import MIB, make_disk, problems_of, table_of

PARTS = {"esp": (1, 2), gpt.STATE: (3, 4), "root": (7, 8)}


def put(path: Path, size: int, pieces: tuple[tuple[int, bytes], ...]) -> None:
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in pieces:
            file.seek(offset)
            file.write(data)


def read_of(path: Path) -> gpt.Read:
    data = path.read_bytes()
    return lambda offset, size: data[offset : offset + size]


def test_a_table_for_a_larger_disk_is_one_as_if_made_there(tmp_path: Path) -> None:
    """As `sgdisk -e`: the copy is at the new end, all is usable, the protective MBR covers it."""
    small, large = tmp_path / "small", tmp_path / "large"
    table = gpt.of_image(make_disk(small, 16, PARTS)[:MIB])
    assert table is not None
    put(large, 50 * MIB, gpt.for_disk(table, 50 * MIB))
    assert problems_of(large) == ""
    before, after = table_of(small), table_of(large)
    assert after["lastlba"] == 50 * MIB // 512 - 34
    for name in ("id", "firstlba"):
        assert after[name] == before[name]
    assert [p | {"node": ""} for p in after["partitions"]] == [p | {"node": ""} for p in before["partitions"]]
    assert large.read_bytes()[:440] == small.read_bytes()[:440]
    assert struct.unpack_from("<II", large.read_bytes(), 446 + 8) == (1, 50 * MIB // 512 - 1)


def test_a_hybrid_mbr_is_left_as_it_is(tmp_path: Path) -> None:
    """Its other records are somebody's."""
    data = bytearray(make_disk(tmp_path / "disk", 16, PARTS))
    data[446 + 16 : 446 + 32] = struct.pack("<B3xB3xII", 0x80, 0x0C, 2048, 4096)
    table = gpt.of_image(bytes(data[:MIB]))
    assert table is not None
    assert gpt.for_disk(table, 50 * MIB)[-1][1][:512] == data[:512]


def test_a_table_for_its_own_size_is_the_same_bytes(tmp_path: Path) -> None:
    data = make_disk(tmp_path / "disk", 16, PARTS)
    table = gpt.of_image(data[:MIB])
    assert table is not None
    for offset, piece in gpt.for_disk(table, 16 * MIB):
        assert data[offset : offset + len(piece)] == piece
    assert table.backup == (16 * MIB - 33 * 512, 16 * MIB)


def test_a_disk_under_way_has_the_state_and_nothing_that_boots(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    make_disk(old, 16, PARTS)
    table = gpt.of_disk(read_of(old), 16 * MIB)
    state = gpt.state_of(table) if table is not None else None
    assert table is not None and state is not None
    put(new, 16 * MIB, gpt.only_state(table, state, 16 * MIB))
    assert problems_of(new) == ""
    (only,) = table_of(new)["partitions"]
    before = table_of(old)["partitions"][1]
    assert (only["name"], only["start"], only["size"], only["uuid"]) == (
        gpt.STATE,
        before["start"],
        before["size"],
        before["uuid"],
    )
    assert new.read_bytes()[5:440] == bytes(435)  # no boot code but what gives up
    again = gpt.of_disk(read_of(new), 16 * MIB)
    assert again is not None and gpt.state_of(again) == replace(state, number=1)


@pytest.mark.parametrize("broken", [512 + 20, 2 * 512 + 3], ids=["header", "entries"])
def test_the_second_copy_counts_where_the_first_is_damaged(tmp_path: Path, broken: int) -> None:
    path = tmp_path / "disk"
    data = bytearray(make_disk(path, 16, PARTS))
    data[broken] ^= 1
    path.write_bytes(data)
    table = gpt.of_disk(read_of(path), 16 * MIB)
    assert table is not None
    state = gpt.state_of(table)
    assert state is not None and state.offset == 3 * MIB
    with pytest.raises(PullError, match="damaged"):
        gpt.of_image(bytes(data[:MIB]))
    put(path, 16 * MIB, gpt.only_state(table, state, 16 * MIB))
    assert problems_of(path) == ""


def test_two_damaged_copies_are_no_empty_disk(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    data = bytearray(make_disk(path, 16, PARTS))
    data[512 + 20] ^= 1
    data[-512 + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(PullError, match="damaged, and so is its copy"):
        gpt.of_disk(read_of(path), 16 * MIB)


def test_disks_without_a_table(tmp_path: Path) -> None:
    for data in (bytes(MIB), b"\xeb\x3c" + bytes(508) + b"\x55\xaa" + bytes(MIB), bytes(512)):
        path = tmp_path / "disk"
        path.write_bytes(data)
        assert gpt.of_disk(read_of(path), len(data)) is None
        assert gpt.of_image(data) is None


def test_two_states_are_one_too_many(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    make_disk(path, 16, {"a": (1, 2), "b": (3, 2)})
    copy = gpt.of_disk(read_of(path), 16 * MIB)
    assert copy is not None and gpt.state_of(copy) is None
    entries = tuple(replace(entry, name=gpt.STATE) for entry in copy.table.entries)
    twice = replace(copy, table=replace(copy.table, entries=entries))
    with pytest.raises(PullError, match="2 partitions with the name persistent-state"):
        gpt.state_of(twice)

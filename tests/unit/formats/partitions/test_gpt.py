from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dibo.formats.partitions import gpt
from dibo.formats.partitions.gpt import GptError
from dibo.layout.partition_table import encode_gpt
from dibo.layout.placement import Placement
from dibo.units import MIB, SECTOR
from tests.unit.disk.sample_requests import output_of, placed
from tests.unit.layout.test_placement import placements


def disk(placement: Placement) -> io.BytesIO:
    table = encode_gpt(placement)
    image = io.BytesIO(bytes(placement.size))
    image.write(table.head)
    image.seek(table.tail_offset)
    image.write(table.tail)
    return image


def write(placement: Placement, path: Path) -> Path:
    table = encode_gpt(placement)
    with path.open("wb") as target:
        target.write(table.head)
        target.truncate(placement.size)
        target.seek(table.tail_offset)
        target.write(table.tail)
    return path


@settings(max_examples=25)
@given(placements())
def test_what_is_encoded_is_decoded(placement: Placement) -> None:
    table = gpt.decode(disk(placement))
    assert table.disk_guid == placement.disk_guid
    assert (table.first_usable, table.last_usable) == (34, placement.last_usable)
    assert [
        (each.number, each.name, each.type_guid, each.guid, each.offset, each.size) for each in table.entries
    ] == [
        (part.number, part.wish.name, part.type_guid, part.ids.guid, part.offset, part.size)
        for part in placement.partitions
    ]


def test_the_tables_fill_both_ends() -> None:
    placement = placed()
    table = encode_gpt(placement)
    assert len(table.head) == 34 * SECTOR
    assert table.tail_offset + len(table.tail) == placement.size
    assert len(table.tail) == 33 * SECTOR


def test_the_protective_mbr() -> None:
    """UEFI 2.10, table 5.4."""
    mbr = encode_gpt(placed(size=128 * MIB)).head[:SECTOR]
    assert mbr[:446] == bytes(446)
    assert mbr[446:462].hex(" ") == "00 00 02 00 ee ff ff ff 01 00 00 00 ff ff 03 00"
    assert mbr[462:] == bytes(48) + b"\x55\xaa"


def test_a_disk_beyond_what_an_mbr_can_say() -> None:
    mbr = encode_gpt(placed(size=3 << 40)).head[:SECTOR]
    assert mbr[458:462] == b"\xff\xff\xff\xff"


def test_sfdisk_reads_the_same(tmp_path: Path) -> None:
    placement = placed()
    path = write(placement, tmp_path / "disk.raw")
    read = json.loads(output_of("sfdisk", "--json", path))["partitiontable"]
    assert (read["label"], read["id"]) == ("gpt", str(placement.disk_guid).upper())
    assert (read["firstlba"], read["lastlba"]) == (34, placement.last_usable)
    assert [
        (each["name"], each["start"], each["size"], each["type"].lower(), each["uuid"].lower())
        for each in read["partitions"]
    ] == [
        (part.wish.name, part.first_lba, part.sectors, str(part.type_guid), str(part.ids.guid))
        for part in placement.partitions
    ]


def test_sfdisk_and_sgdisk_find_nothing_wrong(tmp_path: Path) -> None:
    path = write(placed(), tmp_path / "disk.raw")
    assert "No errors detected" in output_of("sfdisk", "--verify", path)
    assert "No problems found" in output_of("sgdisk", "--verify", path)


@given(st.data())
def test_any_flipped_bit_of_a_table_is_seen(data: st.DataObject) -> None:
    placement = placed(size=68 * MIB)
    table = encode_gpt(placement)
    last = placement.size - SECTOR
    places = st.one_of(
        st.integers(SECTOR, SECTOR + 91),
        st.integers(2 * SECTOR, len(table.head) - 1),
        st.integers(table.tail_offset, last + 91),
    )
    position, bit = data.draw(places), data.draw(st.integers(0, 7))
    image = Patched(table, placement.size, position, 1 << bit)
    with pytest.raises(GptError):
        gpt.decode(image)


class Patched(io.BytesIO):
    """A disk of which only the ends exist, with one bit turned."""

    def __init__(self, table: gpt.Gpt, size: int, position: int, mask: int) -> None:
        super().__init__()
        head, tail = bytearray(table.head), bytearray(table.tail)
        part, at = (head, position) if position < len(head) else (tail, position - table.tail_offset)
        part[at] ^= mask
        self.ends = ((0, bytes(head)), (table.tail_offset, bytes(tail)))
        self.at = 0
        self.end = size

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self.at = offset
        return offset

    def read(self, size: int | None = -1, /) -> bytes:
        for start, data in self.ends:
            if start <= self.at < start + len(data):
                return data[self.at - start :][:size]
        return b"" if self.at >= self.end else bytes(size or 0)


def test_a_disk_without_a_table() -> None:
    with pytest.raises(GptError, match="no GUID partition table"):
        gpt.decode(io.BytesIO(bytes(MIB)))


def test_a_disk_cut_short() -> None:
    image = disk(placed(size=68 * MIB))
    image.truncate(67 * MIB)
    with pytest.raises(GptError, match="ends before byte"):
        gpt.decode(image)


def test_a_header_in_the_wrong_place() -> None:
    """The backup's header over the primary one: both are whole, and each says that the other is the other."""
    image = disk(placed(size=68 * MIB))
    image.seek(-SECTOR, 2)
    header = image.read(SECTOR)
    image.seek(SECTOR)
    image.write(header)
    with pytest.raises(GptError, match="sector 1 is damaged"):
        gpt.decode(image)


@pytest.mark.parametrize(("first_lba", "sectors"), [(4095, 10), (4096, 2**30), (4096, 0), (33, 1)])
def test_partitions_that_overlap_or_leave_the_disk(first_lba: int, sectors: int) -> None:
    placement = placed(size=68 * MIB)
    bios, esp, root = placement.partitions
    partitions = (bios, replace(esp, first_lba=first_lba, sectors=sectors), root)
    with pytest.raises(GptError, match="outside of what is usable or inside another partition"):
        gpt.decode(disk(replace(placement, partitions=partitions)))


def test_two_whole_tables_that_differ() -> None:
    image = disk(placed(size=68 * MIB, identity="one"))
    table = encode_gpt(placed(size=68 * MIB, identity="other"))
    image.seek(table.tail_offset)
    image.write(table.tail)
    with pytest.raises(GptError, match="two copies of the partition table differ"):
        gpt.decode(image)

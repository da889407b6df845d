"""The MBR's table: what sfdisk reads in it, and that it finds nothing wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dibo.errors import LayoutError
from dibo.layout.merge import parse_layout
from dibo.layout.partition_table import encode_mbr
from dibo.layout.placement import Placement, place
from dibo.units import GIB, MIB, SECTOR, TIB
from tests.unit.disk.sample_requests import output_of


def layout(partitions: list[dict[str, Any]], **own: str) -> Any:
    return parse_layout({"table": "mbr", **own, "partitions": partitions}, origin="test")


def partitions(count: int, **of_the_last: Any) -> list[dict[str, Any]]:
    named = [{"name": f"p{index}", "type": "linux", "size": f"{index + 1}MiB"} for index in range(count)]
    named[-1] |= {"size": "rest", "filesystem": "ext4", "mount": "/", **of_the_last}
    return named


def written(path: Path, placement: Placement) -> Path:
    with path.open("wb") as file:
        file.truncate(placement.size)
        for offset, sector in encode_mbr(placement):
            assert len(sector) == SECTOR
            file.seek(offset)
            file.write(sector)
    return path


def check(path: Path, placement: Placement) -> None:
    """sfdisk sees the same partitions, and no mistake."""
    assert "No errors detected" in output_of("sfdisk", "--verify", path)
    table = json.loads(output_of("sfdisk", "--json", path))["partitiontable"]
    assert table["label"] == "dos"
    assert table["id"] == f"0x{placement.disk_guid.hex[:8]}"
    seen = [each for each in table["partitions"] if each["type"] not in ("5", "f")]
    assert [
        (each["start"], each["size"], int(each["type"], 16), each.get("bootable", False)) for each in seen
    ] == [
        (each.first_lba, each.sectors, each.type_code, "bootable" in {flag.value for flag in each.wish.flags})
        for each in placement.partitions
    ]
    assert [int(each["node"].removeprefix(str(path))) for each in seen] == [
        each.number for each in placement.partitions
    ]


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_sfdisk_reads_what_was_placed(tmp_path: Path, count: int) -> None:
    wanted = layout(partitions(count, flags=["bootable"]))
    placement = place(wanted, size=100 * MIB, identity="x", architecture="amd64")
    check(written(tmp_path / "disk", placement), placement)
    assert (placement.partitions[-1].number == count) == (count <= 4)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 12),
    alignment=st.sampled_from(["4KiB", "64KiB", "1MiB", "4MiB"]),
    size=st.integers(160 * MIB // SECTOR, 20 * GIB // SECTOR),
)
def test_whatever_is_placed(tmp_path: Path, count: int, alignment: str, size: int) -> None:
    wanted = layout(partitions(count), alignment=alignment)
    placement = place(wanted, size=size * SECTOR, identity="x", architecture="amd64")
    check(written(tmp_path / "disk", placement), placement)
    free = MIB
    for partition in placement.partitions:
        assert partition.offset % wanted.alignment == 0
        assert partition.offset >= free
        if partition.record_lba is not None:
            assert free <= partition.record_lba * SECTOR < partition.offset
        free = partition.offset + partition.size
    assert placement.size - max(MIB, wanted.alignment) < free <= placement.size


def test_types() -> None:
    words = {"esp": 0xEF, "swap": 0x82, "linux": 0x83, "linux-var": 0x83, "linux-lvm": 0x8E, "0x27": 0x27}
    named: list[dict[str, Any]] = [
        {"name": f"p{index}", "type": word, "size": "1MiB"} for index, word in enumerate(words)
    ]
    named[0]["filesystem"] = "vfat"
    named.append({"name": "d", "type": "basic-data", "size": "1MiB", "flags": ["hidden"]})
    wanted = layout([*named, *partitions(1, name="root")])
    placement = place(wanted, size=GIB, identity="x", architecture="amd64")
    assert [each.type_code for each in placement.partitions] == [*words.values(), 0x1C, 0x83]


def test_what_an_mbr_cannot_say() -> None:
    with pytest.raises(LayoutError, match="is too large for an MBR: the limit is 2 TiB"):
        place(layout(partitions(1)), size=2 * TIB + MIB, identity="x", architecture="amd64")
    hidden = layout(partitions(1, flags=["hidden"]))
    with pytest.raises(LayoutError, match="type 0x83 cannot be hidden"):
        place(hidden, size=GIB, identity="x", architecture="amd64")

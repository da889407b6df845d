"""A GPT of a disk with sectors of 4096 bytes, by its bytes. tests/integration/test_large_sectors.py has sfdisk read
it."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from dibo.formats.partitions import gpt
from dibo.layout.merge import parse_layout
from dibo.layout.partition_table import encode_gpt
from dibo.layout.placement import Placement, place, smallest_disk
from dibo.units import GIB, KIB, MIB

LAYOUT: dict[str, Any] = {
    "table": "gpt",
    "sector": 4096,
    "alignment": "4KiB",
    "partitions": [
        {"name": "esp", "type": "esp", "size": "64MiB", "filesystem": "vfat"},
        {"name": "root", "type": "linux-root", "size": "rest", "filesystem": "ext4", "mount": "/"},
    ],
}


def placed(size: int = GIB) -> Placement:
    layout = parse_layout(LAYOUT, origin="layout.yaml")
    return place(layout, size=size, identity="x", architecture="amd64")


def test_both_copies() -> None:
    placement = placed()
    table = encode_gpt(placement)
    assert len(table.head) == 6 * 4096
    assert table.tail_offset + len(table.tail) == placement.size
    assert len(table.tail) == 5 * 4096
    for header in (table.head[4096:8192], table.tail[-4096:]):
        assert header[:8] == b"EFI PART"
        (crc,) = struct.unpack_from("<I", header, 16)
        assert crc == zlib.crc32(header[:16] + bytes(4) + header[20:92])
        assert struct.unpack_from("<QQ", header, 40) == (6, GIB // 4096 - 6)
    assert gpt.sector_of(table.head) == 4096
    protective = struct.unpack_from("<II", table.head, 446 + 8)
    assert protective == (1, GIB // 4096 - 1), "in sectors of the disk (UEFI 2.10, table 5.4)"


def test_the_last_partition_ends_before_the_second_copy() -> None:
    placement = placed(size=GIB)
    last = placement.partitions[-1]
    assert last.offset + last.size == GIB - 5 * 4096 == encode_gpt(placement).tail_offset
    layout = parse_layout(LAYOUT, origin="layout.yaml")
    assert smallest_disk(layout, {}) % (4 * KIB) == 0
    assert smallest_disk(layout, {}) >= 66 * MIB

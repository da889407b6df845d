"""A VDI, read by the offsets of VirtualBox's header; blocks in any order."""

from __future__ import annotations

import struct
from pathlib import Path
from uuid import UUID

from dibo.formats.open_target import copy_raw
from dibo.formats.vm_disks.identity import ImageIdentity
from dibo.formats.vm_disks.vdi import Vdi
from dibo.units import MIB
from tests.support.disks.sample_disk import sample_disk

IDENTITY = ImageIdentity(uuid=UUID("12345678-1234-5678-1234-567812345678"), time=0)


def read(path: Path) -> bytes:
    """The disk in a VDI."""
    data = path.read_bytes()
    table_at, data_at = struct.unpack_from("<II", data, 340)
    size, block, _, blocks, count = struct.unpack_from("<QIIII", data, 368)
    table = struct.unpack_from(f"<{blocks}I", data, table_at)
    used = [place for place in table if place != 0xFFFFFFFF]
    assert sorted(used) == list(range(count))
    assert len(data) == data_at + count * block
    pieces = [
        bytes(block) if place == 0xFFFFFFFF else data[data_at + place * block : data_at + (place + 1) * block]
        for place in table
    ]
    return b"".join(pieces)[:size]


def test_read_back(tmp_path: Path) -> None:
    disk = sample_disk(tmp_path / "disk")
    path = tmp_path / "disk.vdi"
    with (tmp_path / "disk").open("rb") as file, Vdi(path, len(disk), identity=IDENTITY) as target:
        copy_raw(file, target)
    assert read(path) == disk
    data = path.read_bytes()
    assert struct.unpack_from("<II", data, 64) == (0xBEDA107F, 0x00010001)
    assert struct.unpack_from("<II", data, 72) == (400, 1)
    assert data[392:408] == IDENTITY.uuid.bytes_le


def test_blocks_in_the_order_of_writes_and_zeros_in_none(tmp_path: Path) -> None:
    path = tmp_path / "disk.vdi"
    with Vdi(path, 8 * MIB + 512, identity=IDENTITY) as disk:
        disk.write(6 * MIB, [b"six"])
        disk.write(MIB - 2, [b"over", bytes(3 * MIB)])
        disk.write(4 * MIB + 100, [b"gone"])
        disk.discard(4 * MIB, MIB)
        disk.discard(5 * MIB, MIB)
    expected = bytearray(8 * MIB + 512)
    expected[6 * MIB : 6 * MIB + 3] = b"six"
    expected[MIB - 2 : MIB + 2] = b"over"
    assert read(path) == bytes(expected)
    assert struct.unpack_from("<9I", path.read_bytes(), 512)[:7] == (
        1, 2, 0xFFFFFFFF, 0xFFFFFFFF, 3, 0xFFFFFFFF, 0,
    )  # fmt: skip


def test_what_fails_has_no_header(tmp_path: Path) -> None:
    try:
        with Vdi(tmp_path / "disk.vdi", MIB) as disk:
            disk.write(0, [b"x"])
            raise RuntimeError
    except RuntimeError:
        pass
    assert not any((tmp_path / "disk.vdi").read_bytes()[:512])

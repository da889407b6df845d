"""The footer of a fixed VHD, read by the offsets of its specification."""

from __future__ import annotations

import struct
from pathlib import Path
from uuid import UUID

import pytest

from dibo.formats.open_target import copy_raw
from dibo.formats.vm_disks.identity import ImageIdentity
from dibo.formats.vm_disks.vhd import DiskGeometry, Vhd, footer, geometry
from dibo.units import GIB, MIB
from tests.support.disks.sample_disk import sample_disk

IDENTITY = ImageIdentity(uuid=UUID("12345678-1234-5678-1234-567812345678"), time=1_700_000_000)


def test_a_disk_and_its_footer(tmp_path: Path) -> None:
    disk = sample_disk(tmp_path / "disk")
    path = tmp_path / "disk.vhd"
    with (tmp_path / "disk").open("rb") as file, Vhd(path, len(disk), identity=IDENTITY) as target:
        copy_raw(file, target)
    made = path.read_bytes()
    assert made[:-512] == disk
    assert made[-512:] == footer(len(disk), IDENTITY)
    assert path.stat().st_blocks * 512 < 3 * MIB


def test_the_footer() -> None:
    data = footer(12 * MIB, IDENTITY)
    assert len(data) == 512
    assert data[:8] == b"conectix"
    assert struct.unpack(">QQ", data[40:56]) == (12 * MIB, 12 * MIB)
    assert struct.unpack(">I", data[60:64]) == (2,), "fixed"
    assert struct.unpack(">I", data[24:28]) == (1_700_000_000 - 946_684_800,)
    assert data[68:84] == IDENTITY.uuid.bytes
    (checksum,) = struct.unpack(">I", data[64:68])
    assert checksum == ~(sum(data) - sum(data[64:68])) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (12 * MIB, DiskGeometry(361, 4, 17)),
        (GIB, DiskGeometry(2080, 16, 63)),
        (127 * GIB, DiskGeometry(65278, 16, 255)),
        (4096 * GIB, DiskGeometry(65535, 16, 255)),
    ],
)
def test_geometry(size: int, expected: DiskGeometry) -> None:
    assert geometry(size // 512) == expected


def test_what_fails_has_no_footer(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Vhd(tmp_path / "disk.vhd", MIB):
        raise RuntimeError
    assert not any((tmp_path / "disk.vhd").read_bytes())


def test_the_footer_is_not_on_the_disk(tmp_path: Path) -> None:
    with Vhd(tmp_path / "disk.vhd", MIB) as disk:
        with pytest.raises(ValueError, match="not on a disk"):
            disk.write(MIB, [b"x"])
        with pytest.raises(ValueError, match="not on a disk"):
            disk.discard(MIB - 1, 2)

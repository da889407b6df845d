"""What dibo adds to a disk that somebody else laid out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dibo.boot.boot_files import BootFiles
from dibo.disk import grub_cfg
from dibo.disk import partitioned as disks
from dibo.disk.partitioned import PartitionedDisk
from dibo.errors import LayoutError
from dibo.formats import grub_images
from dibo.formats.open_target import copy_raw
from dibo.formats.partitions.reader import PartitionPlace, Table
from dibo.layout.model import ROOT, PartitionContent
from dibo.units import MIB, SECTOR
from tests.support.disks.memory_disk import Disk
from tests.unit.disk.sample_requests import boot_files, core_img

SIZE = 64 * MIB
IDENTITY = "sha256:0123"


def mbr(first: int = 2048, *, active: bool = True) -> PartitionedDisk:
    place = PartitionPlace(
        number=1, offset=first * SECTOR, size=SIZE - first * SECTOR, kind=0x83, active=active
    )
    table = Table(is_gpt=False, places=(place,), free_until=place.offset)
    return disks.find(table, size=SIZE, number=1)


def written(found: PartitionedDisk, boot: BootFiles | None = None) -> tuple[Disk, list[tuple[int, int]]]:
    disk = Disk(SIZE)
    placement = disks.placement(found, identity=IDENTITY, label="root")
    sector = bytes(range(256)) * 2
    return disk, disks.write_boot(disk, found, boot or boot_files(), placement=placement, sector=sector)


def test_grub_lies_in_the_gap_of_an_mbr_and_the_table_stays() -> None:
    found, boot = mbr(), boot_files()
    disk, ranges = written(found)
    assert boot.boot is not None
    assert boot.core is not None
    core = grub_images.core_image(boot.core, lba=1, available_sectors=2039)
    sector = bytes(range(256)) * 2
    assert disk.read(0, SECTOR) == grub_images.boot_sector(boot.boot, sector, core_lba=1)
    assert disk.read(440, 70) == sector[440:510]
    assert disk.read(SECTOR, len(core)) == core
    placement = disks.placement(found, identity=IDENTITY, label="root")
    assert disk.read(2040 * SECTOR, grub_cfg.EARLY_SIZE) == grub_cfg.early(placement)
    assert sorted(ranges) == [(0, SECTOR), (SECTOR, len(core)), (2040 * SECTOR, grub_cfg.EARLY_SIZE)]


def test_a_gap_that_is_too_small() -> None:
    large = replace(boot_files(), core=core_img(60_000))
    with pytest.raises(
        LayoutError, match=r"core image has .*, and the gap before the first partition 31 KiB"
    ) as caught:
        written(mbr(63), large)
    assert "sector 2048" in caught.value.hint
    assert written(mbr(63, active=False), large)[1] == []
    assert len(written(mbr(63))[1]) == 2


def test_without_images_for_bios_the_first_sector_stays() -> None:
    assert written(mbr(), replace(boot_files(), boot=None, core=None))[1] == []


def test_what_is_in_a_gap_that_ends_before_the_text_on_boot() -> None:
    found = mbr(2040)
    assert not found.has_early
    assert found.core is not None
    assert found.core.size == 2039 * SECTOR
    assert all(offset < MIB - 4096 for offset, _ in written(found)[1])


def test_the_placement_fills_the_root_and_an_empty_esp_in_whole_blocks() -> None:
    esp = PartitionPlace(number=1, offset=MIB, size=8 * MIB, kind=0xEF)
    root = PartitionPlace(number=2, offset=9 * MIB, size=20 * MIB + 512, kind=0x83)
    table = Table(is_gpt=False, places=(esp, root), free_until=MIB)
    found = disks.find(table, size=SIZE, number=2)
    placement = disks.placement(found, identity=IDENTITY, label="cloudimg-rootfs")
    assert placement.root.wish.mount == ROOT
    assert (placement.root.offset, placement.root.size) == (9 * MIB, 20 * MIB)
    filled = placement.holding(PartitionContent.ESP)
    assert filled is not None
    assert (filled.number, filled.offset, filled.size, filled.wish.label) == (1, MIB, 8 * MIB, "UEFI")
    assert (
        disks.placement(replace(found, esp=None), identity=IDENTITY, label="x").holding(PartitionContent.ESP)
        is None
    )


def test_a_copy_leaves_out_what_dibo_wrote(tmp_path: Path) -> None:
    """Also what begins or ends inside the data, and what lies in a hole."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(SIZE)
        for at in (0, 4 * MIB, 8 * MIB):
            file.seek(at)
            file.write(b"x" * MIB)
    disk = Disk(SIZE)
    without = [(8 * MIB + 100, 2 * MIB), (0, 512), (2 * MIB, MIB), (1000, 24), (4 * MIB - 5, 10)]
    with path.open("rb") as file:
        copy_raw(file, disk, without=without)
    wanted = bytearray(path.read_bytes())
    for offset, size in without:
        wanted[offset : offset + size] = bytes(size)
    assert disk.read(0, SIZE) == bytes(wanted)

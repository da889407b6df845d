"""Whole disks: what lies where, that nothing else is written, and the same bytes each time."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from dibo.boot.boot_files import BootFiles
from dibo.disk import grub_cfg
from dibo.disk.boot_sectors import write_disk
from dibo.disk.streamed import FileSystems
from dibo.errors import LayoutError
from dibo.formats import grub_images
from dibo.formats.partitions import gpt
from dibo.formats.raw import RawFile
from dibo.formats.target import Target
from dibo.layout.partition_table import encode_gpt, encode_mbr
from dibo.layout.placement import Placement
from dibo.tree.sinks import Nowhere
from dibo.units import MIB, SECTOR
from tests.support.disks.memory_disk import directory
from tests.unit.disk.sample_requests import (
    EXAMPLE,
    MTIME,
    Memory,
    Recorder,
    boot_files,
    core_img,
    output_of,
    placed,
    zero_blocks,
)
from tests.unit.formats.fat.fat_reader import read_fat

UEFI_ONLY = """
table: gpt
partitions:
  - {name: esp, type: esp, size: 64MiB, filesystem: vfat, mount: /boot/efi, content: esp}
  - {name: data, type: linux, size: 3MiB, filesystem: vfat, label: DATA, mount: /data}
  - {name: root, type: linux, size: rest, filesystem: ext4, mount: /}
"""


def write(path: Path, placement: Placement, boot: BootFiles | None = None) -> Path:
    with RawFile(path, placement.size) as target:
        make(target, placement, boot or boot_files())
    return path


def make(target: Target, placement: Placement, boot: BootFiles) -> None:
    """All of a disk but for what needs a root."""
    systems = FileSystems(target, placement, epoch=MTIME, others={"root": Nowhere()})
    with systems.mounted(directory()) as mounted:
        systems.finish(mounted, boot)
    write_disk(target, placement=placement, boot=boot)


def test_everything_lies_where_it_is_placed(tmp_path: Path) -> None:
    placement, boot = placed(), boot_files()
    path = write(tmp_path / "disk.raw", placement, boot)
    data = path.read_bytes()
    assert len(data) == placement.size
    assert boot.boot is not None
    assert boot.core is not None
    mbr = encode_gpt(placement).head[:SECTOR]
    core = grub_images.core_image(boot.core, lba=2048, available_sectors=2048)
    assert data[:SECTOR] == grub_images.boot_sector(boot.boot, mbr, core_lba=2048)
    assert data[MIB : 2 * MIB] == core.ljust(MIB, b"\0")
    with path.open("rb") as source:
        assert gpt.decode(source).disk_guid == placement.disk_guid
        volume = read_fat(source, 2 * MIB)
    assert volume.files == boot.esp
    assert (volume.label, volume.serial) == ("UEFI", placement.partitions[1].ids.fat_serial)


def test_the_root_is_left_to_others(tmp_path: Path) -> None:
    placement = placed()
    path = write(tmp_path / "disk.raw", placement)
    assert not any(path.read_bytes()[placement.root.offset :][: placement.root.size])


def test_tools_agree_about_the_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "disk.raw", placed())
    assert "No errors detected" in output_of("sfdisk", "--verify", path)
    assert "No problems found" in output_of("sgdisk", "--verify", path)
    listed = output_of("mdir", "-/", "-b", "-i", f"{path}@@{2 * MIB}", "::")
    assert "::/EFI/BOOT/BOOTX64.EFI" in listed


def test_without_bios_the_boot_code_is_left_out(tmp_path: Path) -> None:
    placement = placed(text=UEFI_ONLY)
    path = write(tmp_path / "disk.raw", placement, replace(boot_files(), boot=None, core=None))
    data = path.read_bytes()
    assert data[:SECTOR] == encode_gpt(placement).head[:SECTOR]
    with path.open("rb") as source:
        assert read_fat(source, placement.partitions[0].offset).files == boot_files().esp
        other = read_fat(source, placement.partitions[1].offset)
    assert (other.label, other.files) == ("DATA", {})


def test_nothing_that_is_zero_is_written(tmp_path: Path) -> None:
    with Recorder(tmp_path / "disk.raw", placed().size) as target:
        make(target, placed(), boot_files())
        assert zero_blocks(target.writes) == []
    assert (tmp_path / "disk.raw").stat().st_blocks * 512 < MIB


def test_what_the_file_held_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"old" * 5 * MIB)
    write(path, placed())
    assert path.read_bytes() == write(tmp_path / "fresh.raw", placed()).read_bytes()


def test_the_same_bytes_each_time_and_everywhere(tmp_path: Path) -> None:
    """Pinned: a change here changes every disk that was ever made, and belongs into the changelog."""
    data = write(tmp_path / "disk.raw", placed()).read_bytes()
    assert (
        hashlib.sha256(data).hexdigest() == "001233a8d97fb894865527f61267a5212a486518ea472bd979d243557eb7d73c"
    )


def test_another_image_is_another_disk(tmp_path: Path) -> None:
    one = write(tmp_path / "one", placed(identity="sha256:1")).read_bytes()
    other = write(tmp_path / "other", placed(identity="sha256:2")).read_bytes()
    assert one != other


@pytest.mark.parametrize(
    ("boot", "words"),
    [
        (replace(boot_files(), boot=None), "GRUB's images for BIOS"),
        (replace(boot_files(), core=None), "GRUB's images for BIOS"),
        (replace(boot_files(), boot=None, esp={}), "GRUB's images for BIOS"),
        (replace(boot_files(), boot=None, core=None, esp={}), "GRUB's images for BIOS"),
    ],
)
def test_what_the_root_does_not_have(boot: BootFiles, words: str) -> None:
    target = Memory(placed().size)
    with pytest.raises(LayoutError, match=words) as caught:
        write_disk(target, placement=placed(), boot=boot)
    assert "manifest.json" in caught.value.hint
    assert target.writes == []


def test_a_disk_that_failed_has_no_table(tmp_path: Path) -> None:
    """Half a disk must not look like one."""
    boot = replace(boot_files(), esp={"BIG": b"x" * 3 * MIB})
    with pytest.raises(LayoutError, match="do not fit"):
        write(tmp_path / "disk.raw", placed(text=EXAMPLE.replace("64MiB", "2MiB")), boot)
    assert not any((tmp_path / "disk.raw").read_bytes()[:MIB])


def test_a_root_without_boot_files_on_a_disk_for_uefi_alone() -> None:
    wished = placed(text=UEFI_ONLY)
    with pytest.raises(LayoutError, match="files for the EFI system partition, but the root has none"):
        write_disk(Memory(wished.size), placement=wished, boot=BootFiles())


def test_a_root_for_bios_alone_leaves_the_esp_empty(tmp_path: Path) -> None:
    disk = write(tmp_path / "disk.raw", placed(), replace(boot_files(), esp={}))
    with disk.open("rb") as source:
        assert read_fat(source, placed().partitions[1].offset).files == {}
        source.seek(MIB)
        assert any(source.read(MIB))


def test_a_root_for_uefi_alone_leaves_the_partition_for_bios_empty(tmp_path: Path) -> None:
    """arm64 has no BIOS; the same layout serves."""
    data = write(tmp_path / "disk.raw", placed(), replace(boot_files(), boot=None, core=None)).read_bytes()
    assert not any(data[MIB : 2 * MIB])
    assert not any(data[:440])


MBR = """
table: mbr
partitions:
  - {name: boot, type: linux, size: 2MiB, flags: [bootable]}
  - {name: root, type: linux, size: rest, filesystem: ext4, mount: /}
"""


def test_with_an_mbr_grub_lies_before_the_first_partition(tmp_path: Path) -> None:
    placement, boot = placed(size=8 * MIB, text=MBR), boot_files()
    path = write(tmp_path / "disk.raw", placement, boot)
    data = path.read_bytes()
    assert boot.boot is not None
    assert boot.core is not None
    core = grub_images.core_image(boot.core, lba=1, available_sectors=2039)
    (_, table), *_ = reversed(encode_mbr(placement))
    assert data[:SECTOR] == grub_images.boot_sector(boot.boot, table, core_lba=1)
    assert data[SECTOR:MIB] == core.ljust(2039 * SECTOR, b"\0") + grub_cfg.early_of_layout(
        placement, with_core=True
    )
    assert not any(data[MIB:])
    assert "No errors detected" in output_of("sfdisk", "--verify", path)


def test_with_an_mbr_that_nobody_boots_there_is_no_code(tmp_path: Path) -> None:
    placement = placed(size=8 * MIB, text=MBR.replace(", flags: [bootable]", ""))
    data = write(tmp_path / "disk.raw", placement, BootFiles()).read_bytes()
    assert not any(data[:440])
    assert not any(data[SECTOR:])


def test_a_core_image_that_would_reach_into_the_text_is_refused(tmp_path: Path) -> None:
    placement = placed(size=8 * MIB, text=MBR)
    assert grub_cfg.EARLY_LBA * SECTOR > 0x78000  # so none that GRUB could load
    with pytest.raises(LayoutError, match="BIOS loads at most"):
        write(tmp_path / "disk.raw", placement, replace(boot_files(), core=core_img(0x78000)))

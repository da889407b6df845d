from __future__ import annotations

import struct

import pytest

from dibo.errors import LayoutError
from dibo.formats import grub_images
from dibo.layout.partition_table import encode_gpt
from tests.unit.disk.sample_requests import boot_img, core_img, placed


def changed(image: bytes, offset: int, new: bytes) -> bytes:
    return image[:offset] + new + image[offset + len(new) :]


def test_the_boot_sector_is_boot_img_around_the_table() -> None:
    boot, mbr = boot_img(), encode_gpt(placed()).head[:512]
    sector = grub_images.boot_sector(boot, mbr, core_lba=0x1122334455667788)
    assert len(sector) == 512
    assert sector[:0x5C] == boot[:0x5C]
    assert sector[0x5C:0x64] == bytes.fromhex("8877665544332211")
    assert sector[0x64] == 0xFF
    assert sector[0x65] == boot[0x65]
    assert sector[0x66:0x68] == b"\x90\x90"
    assert sector[0x68:0x1B8] == boot[0x68:0x1B8]
    assert sector[0x1B8:] == mbr[0x1B8:]


@pytest.mark.parametrize(
    "boot",
    [
        b"",
        bytes(512),
        boot_img()[:-1],
        boot_img() + b"\0",
        changed(boot_img(), 0x1FE, b"\0\0"),
        changed(boot_img(), 0x5A, b"\0\x7c"),
        changed(boot_img(), 0x66, b"\x75"),
        core_img()[:512],
    ],
)
def test_what_is_no_boot_img(boot: bytes) -> None:
    with pytest.raises(LayoutError, match=r"boot\.img"):
        grub_images.boot_sector(boot, bytes(512), core_lba=2048)


@pytest.mark.parametrize("size", [1024, 1025, 30_000, 30_208])
def test_the_core_image_learns_where_it_lies(size: int) -> None:
    core = core_img(size)
    image = grub_images.core_image(core, lba=2048, available_sectors=2048)
    assert len(image) % 512 == 0
    assert 0 <= len(image) - size < 512
    assert image[:0x1F4] == core[:0x1F4]
    assert struct.unpack_from("<QHH", image, 0x1F4) == (2049, len(image) // 512 - 1, 0x820)
    assert image[0x200:size] == core[0x200:]
    assert not any(image[size:])


@pytest.mark.parametrize(
    "core",
    [
        b"",
        bytes(30_000),
        core_img()[:512],
        core_img()[:-512],
        changed(core_img(), 0x1FE, b"\x00\x08"),
        changed(core_img(), 0x1E8, struct.pack("<QHH", 100, 5, 0x900)),
        changed(core_img(), 0x214, b"\xff\xff"),
        bytes(2048) + core_img(),
    ],
)
def test_what_is_no_core_image(core: bytes) -> None:
    with pytest.raises(LayoutError, match="does not look like one"):
        grub_images.core_image(core, lba=2048, available_sectors=2048)


def test_a_core_image_larger_than_its_partition() -> None:
    assert grub_images.core_image(core_img(512 * 60), lba=1, available_sectors=60)
    with pytest.raises(LayoutError, match="takes 61 sectors, its partition has 60"):
        grub_images.core_image(core_img(512 * 60 + 1), lba=1, available_sectors=60)


def test_a_core_image_larger_than_bios_loads() -> None:
    assert grub_images.core_image(core_img(0x6F000), lba=1, available_sectors=2048)
    with pytest.raises(LayoutError, match="BIOS loads at most 454656"):
        grub_images.core_image(core_img(0x6F001), lba=1, available_sectors=2048)

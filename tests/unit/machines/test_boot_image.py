"""What a disk says about the machine that it is for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from dibo.formats.fat.build import FatVolume, write_fat
from dibo.formats.raw import RawFile
from dibo.machines.boards import FirmwareKind
from dibo.machines.boot_image import BootImage, boot_image, direct_kernel, elf_architecture
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from tests.support.disks.boot_disks import FILES, KERNEL, RAMDISK, ext4, save
from tests.support.machines.boot_sector import boot_disk
from tests.support.machines.efi_program import large_sector_disk


def elf(bits: int, order: int, machine: int) -> bytes:
    word = machine.to_bytes(2, "little" if order == 1 else "big")
    return b"\x7fELF" + bytes((bits, order)).ljust(14, b"\0") + word + bytes(44)


ARM64 = elf(2, 1, 183)


def read(path: Path, tmp_path: Path) -> BootImage:
    with Workspace(tmp_path / "cache").run() as run, boot_image(path, run=run, report=Report()) as (image, _):
        return image


def root(tmp_path: Path, files: Mapping[str, bytes | str]) -> Path:
    return save(tmp_path / "root.raw", ext4(files))


def test_a_root_with_cloud_init(tmp_path: Path) -> None:
    """On no partition, so only a kernel from outside starts it. Its own configuration counts last."""
    config = b"system_info:\n  default_user: {name: debian}\n"
    image = read(
        root(
            tmp_path,
            {
                **FILES,
                "bin/sh": "dash",
                "bin/dash": ARM64,
                "etc/cloud/cloud.cfg": config,
                "etc/cloud/cloud.cfg.d/90-site.cfg": config.replace(b"debian", b"admin"),
                "etc/cloud/cloud.cfg.d/README": b"system_info: [",
            },
        ),
        tmp_path,
    )
    assert (image.architecture, image.user, image.has_kit) == ("arm64", "admin", False)
    assert image.firmware == (FirmwareKind.NONE,)
    assert image.format == "raw"


@pytest.mark.parametrize(
    "config", [b"system_info: [", b"- a\n", b"system_info:\n  default_user: {name: 'a b'}\n"]
)
def test_a_configuration_that_names_no_user(tmp_path: Path, config: bytes) -> None:
    assert read(root(tmp_path, {**FILES, "etc/cloud/cloud.cfg": config}), tmp_path).user == ""


def test_a_kit(tmp_path: Path) -> None:
    assert read(root(tmp_path, {**FILES, "usr/lib/dibo/service/run": b""}), tmp_path).has_kit


def test_a_boot_loader_for_uefi(tmp_path: Path) -> None:
    """Whose name says for what; without code for BIOS, UEFI alone starts it."""
    esp = tmp_path / "esp.raw"
    with RawFile(esp, 4 << 20) as target:
        volume = FatVolume(target=target, offset=0, label="ESP", serial=1)
        write_fat(volume, size=4 << 20, files={"EFI/BOOT/BOOTRISCV64.EFI": b"MZ"}, mtime=0)
    image = read(esp, tmp_path)
    assert image.architecture == "riscv64"
    assert FirmwareKind.UEFI in image.firmware


def test_sectors_of_4096_bytes(tmp_path: Path) -> None:
    """Which no BIOS reads."""
    large_sector_disk(tmp_path / "disk.raw", "up")
    image = read(tmp_path / "disk.raw", tmp_path)
    assert (image.sector, image.architecture, image.firmware[0]) == (4096, "amd64", FirmwareKind.UEFI)


def test_code_for_bios(tmp_path: Path) -> None:
    image = read(boot_disk(tmp_path / "disk.raw", ""), tmp_path)
    assert image.firmware[0] is FirmwareKind.BIOS
    assert (image.architecture, image.user, image.sector) == ("", "", 512)


def test_the_kernel_of_the_image(tmp_path: Path) -> None:
    path = root(tmp_path, FILES)
    with Workspace(tmp_path / "cache").run() as run, boot_image(path, run=run, report=Report()) as (_, disk):
        kernel = direct_kernel(disk, tmp_path)
    assert kernel.kernel.read_bytes() == KERNEL
    assert kernel.initrd is not None
    assert kernel.initrd.read_bytes() == RAMDISK
    assert kernel.arguments.startswith("root=LABEL=cloudimg-rootfs ro ")


@pytest.mark.parametrize(
    ("head", "architecture"),
    [
        (elf(2, 1, 62), "amd64"),
        (elf(1, 1, 3), "i386"),
        (elf(1, 1, 40), "armhf"),
        (elf(2, 1, 243), "riscv64"),
        (elf(2, 1, 21), "ppc64el"),
        (elf(2, 2, 22), "s390x"),
        (elf(2, 2, 21), ""),
        (b"\x7fELF", ""),
        (b"#!/bin/sh\n".ljust(64), ""),
    ],
)
def test_programs(head: bytes, architecture: str) -> None:
    assert elf_architecture(head) == architecture

"""Roots of other architectures, converted without running a program of theirs, and booted by their own firmware."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.images.package_roots import UP, convert, directory, root_of_packages
from tests.support.machines.emulation import BOOT_SECONDS, need_firmware
from tests.support.machines.qemu import TOOLS, Firmware, Machine, tools_for
from tests.support.requirements import need

pytestmark = [pytest.mark.boot, pytest.mark.long]


def console_of(machine: Machine) -> str:
    """What the root's init says, to the end."""
    machine.wait_until_off(timeout=BOOT_SECONDS)
    console = machine.console_text()
    assert UP in console, console[-3000:]
    return console


@pytest.fixture(scope="module")
def arm64() -> Iterator[Path]:
    """A disk of Debian 12."""
    need(*tools_for("arm64"))
    need_firmware(Firmware.SECURE_BOOT, "arm64")
    packages = ("linux-image-arm64", "grub-efi-arm64-signed", "shim-signed", "busybox-static", "kmod")
    with directory() as made:
        yield convert(root_of_packages(made, "arm64", "bookworm", *packages), "arm64")


@pytest.mark.parametrize("firmware", [Firmware.UEFI, Firmware.SECURE_BOOT])
def test_a_root_for_arm64_boots(arm64: Path, firmware: Firmware, tmp_path: Path) -> None:
    with Machine(arm64, directory=tmp_path, architecture="arm64", firmware=firmware) as machine:
        console = console_of(machine)
    assert "machine: aarch64" in console
    assert "root: /dev/vda3 ext4" in console
    assert "firmware: uefi" in console
    assert "root=PARTUUID=" in console.partition("command line: ")[2]
    assert ("UEFI Secure Boot is enabled" in console) == (firmware is Firmware.SECURE_BOOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByUboot:
    """An architecture whose firmware is U-Boot, which starts systemd-boot as UEFI does."""

    kernel: str
    word: str
    """What uname(1) says."""


BY_UBOOT = {
    "riscv64": ByUboot(kernel="linux-image-riscv64", word="riscv64"),
    "armhf": ByUboot(kernel="linux-image-armmp", word="armv7l"),
}


@pytest.mark.parametrize("architecture", BY_UBOOT)
def test_a_root_boots_by_uboot(architecture: str, tmp_path: Path) -> None:
    """Of Debian 13."""
    board = BY_UBOOT[architecture]
    need(*tools_for(architecture))
    need_firmware(Firmware.UBOOT, architecture)
    packages = (board.kernel, "systemd-boot-efi", "busybox-static", "kmod")
    with directory() as made:
        disk = convert(root_of_packages(made, architecture, "trixie", *packages), architecture)
        with Machine(disk, directory=tmp_path, architecture=architecture, firmware=Firmware.UBOOT) as machine:
            console = console_of(machine)
    assert f"machine: {board.word}" in console
    assert re.search(r"^root: /dev/vda\d ext4$", console, re.MULTILINE)
    assert "firmware: uefi" in console


def test_a_root_for_i386_boots_by_bios(tmp_path: Path) -> None:
    """The processor is one of 64 bits: the kernel is not."""
    need(*TOOLS)
    packages = ("linux-image-686-pae", "grub-pc-bin", "busybox-static", "kmod")
    with directory() as made:
        disk = convert(root_of_packages(made, "i386", "bookworm", *packages), "i386")
        with Machine(disk, directory=tmp_path, architecture="i386") as machine:
            console = console_of(machine)
    assert "machine: i686" in console
    assert "root: /dev/vda3 ext4" in console
    assert "root=PARTUUID=" in console.partition("command line: ")[2]

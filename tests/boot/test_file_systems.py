"""Roots on ext4, xfs and btrfs, by the initramfs that dibo makes, on disks with sectors of 512 and of 4096 bytes: they
boot, and grow on a larger disk.

The root is of Debian 13's packages; its init is busybox's, which goes by /etc/inittab.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.images.package_roots import UP, convert, directory, reporting_init, root_of_packages
from tests.support.machines.emulation import BOOT_SECONDS, need_firmware
from tests.support.machines.qemu import TOOLS, Firmware, Machine
from tests.support.requirements import need, unmet

pytestmark = [pytest.mark.boot, pytest.mark.long]

PACKAGES = (
    *(
        "linux-image-cloud-amd64",
        "grub-pc-bin",
        "grub-efi-amd64-signed",
        "shim-signed",
        "busybox-static",
        "kmod",
    ),
    *("cloud-guest-utils", "fdisk", "util-linux", "e2fsprogs", "xfsprogs", "btrfs-progs"),
)
INITTAB = "::sysinit:/etc/rcS\n::wait:/etc/report\n"
RC_S = """#!/bin/busybox sh
busybox mount -o remount,rw /
busybox --install -s /bin 2>/dev/null
"""
GIB = 1 << 30


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """DIBO_BOOT_FILE_SYSTEMS names a layout that is there already; disks are made beside it."""
    need(*TOOLS)
    if given := os.environ.get("DIBO_BOOT_FILE_SYSTEMS"):
        yield Path(given)
        return
    programs = {"etc/inittab": INITTAB, "etc/rcS": RC_S, "etc/report": reporting_init()}
    links = {"sbin/init": "/bin/busybox"}
    with directory() as made:
        yield root_of_packages(made, "amd64", "trixie", *PACKAGES, programs=programs, links=links)


def layout(kind: str, sector: int) -> dict[str, Any]:
    bios = {"name": "bios", "type": "bios-boot", "size": "1MiB", "content": "grub-core"}
    esp = {"type": "esp", "size": "64MiB", "filesystem": "vfat", "mount": "/boot/efi", "content": "esp"}
    root = {"type": "linux-root", "size": "rest", "filesystem": kind, "label": "r", "mount": "/"}
    return {
        "table": "gpt",
        "sector": sector,
        "partitions": [
            *([bios] if sector == 512 else []),
            {"name": "esp", "label": "UEFI", **esp},
            {"name": "root", **root},
        ],
    }


@pytest.mark.parametrize(
    ("kind", "sector"),
    [("ext4", 512), ("xfs", 512), ("btrfs", 512), ("ext4", 4096), ("xfs", 4096)],
)
def test_it_boots_and_grows(image: Path, kind: str, sector: int, tmp_path: Path) -> None:
    """By BIOS; by UEFI where sectors are large, with which BIOS does not boot."""
    if kind != "ext4" and os.geteuid() != 0:
        unmet(f"only root makes disks with {kind}, on a loop device")
    firmware = Firmware.BIOS if sector == 512 else Firmware.UEFI
    need_firmware(firmware)
    laid_out = image.parent / f"{kind}-{sector}.yaml"
    laid_out.write_text(json.dumps(layout(kind, sector)))
    options = ["--layout", str(laid_out), "--image-size", "2", *([] if kind == "ext4" else ["--loop"])]
    disk = convert(image, "amd64", *options, name=f"{kind}-{sector}", by_root=kind != "ext4")
    with Machine(disk, directory=tmp_path, firmware=firmware, grow_to="4G", sector=sector) as machine:
        machine.wait_until_off(timeout=BOOT_SECONDS)
        console = machine.console_text()
    assert UP in console, console[-3000:]
    lines = dict(line.split(": ", 1) for line in console.partition(UP)[2].splitlines() if ": " in line)
    device, found = lines["root"].split()
    assert (device, found) == (f"/dev/vda{3 if sector == 512 else 2}", kind), console[-3000:]
    blocks, size = map(int, lines["size"].split())
    assert blocks * size > 3.5 * GIB, console[-3000:]

"""A virtual machine for armhf: QEMU's board `virt` with U-Boot as UEFI firmware."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.support.machines.qemu import TOOLS, Machine

ARMHF_TOOLS: Final = (*(tool for tool in TOOLS if tool != "qemu-system-x86_64"), "qemu-system-arm")
UBOOT: Final = Path("/usr/lib/u-boot/qemu_arm/u-boot.bin")
"""Of Debian's u-boot-qemu."""


class ArmhfMachine(Machine):
    """The same as Machine; its firmware keeps no variables. Devices are where 32 bits reach them."""

    def _board(self) -> list[str]:
        return ["qemu-system-arm", "-machine", "virt,highmem=off", "-cpu", "max", "-bios", str(UBOOT)]

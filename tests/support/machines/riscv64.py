"""A virtual machine for riscv64: QEMU's board `virt` with OpenSBI, which QEMU brings, and U-Boot as UEFI firmware."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.support.machines.qemu import TOOLS, Machine

RISCV64_TOOLS: Final = (*(tool for tool in TOOLS if tool != "qemu-system-x86_64"), "qemu-system-riscv64")
UBOOT: Final = Path("/usr/lib/u-boot/qemu-riscv64_smode/uboot.elf")
"""Of Debian's u-boot-qemu."""


class Riscv64Machine(Machine):
    """The same as Machine; its firmware keeps no variables."""

    def _board(self) -> list[str]:
        return ["qemu-system-riscv64", "-machine", "virt", "-kernel", str(UBOOT)]

"""Virtual machines for arm64: QEMU's board `virt` with AAVMF, the UEFI firmware of Debian's qemu-efi-aarch64."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dibo.machines.arguments import firmware_arguments
from dibo.machines.machine import FirmwareFiles
from tests.support.machines.direct_boot import DirectMachine
from tests.support.machines.qemu import TOOLS, Firmware, Machine, MachineError, firmware_files

ARM64_TOOLS: Final = (*(tool for tool in TOOLS if tool != "qemu-system-x86_64"), "qemu-system-aarch64")
# QEMU computes pointer authentication by its own, faster algorithm (docs/system/arm/cpu-features.rst).
_BOARD: Final = ("qemu-system-aarch64", "-machine", "virt", "-cpu", "max,pauth-impdef=on")


def missing_firmware() -> str:
    """What is missing of the firmware; empty where it is there."""
    try:
        firmware_files("arm64", "virt", Firmware.UEFI)
    except MachineError as error:
        return str(error)
    return ""


class Arm64Machine(Machine):
    """The same as Machine, with UEFI, and with Secure Boot by Microsoft's keys for Firmware.SECURE_BOOT."""

    def _board(self) -> list[str]:
        return [*_BOARD]

    def _firmware_files(self) -> FirmwareFiles:
        return firmware_files("arm64", "virt", self._firmware)


class Arm64DirectMachine(DirectMachine):
    """The same as DirectMachine. The kernel, an EFI program, is started by the firmware, which QEMU hands it to: QEMU
    itself does not start those that unpack themselves."""

    SERIAL = "ttyAMA0"

    def _board(self) -> list[str]:
        files = firmware_files("arm64", "virt", Firmware.UEFI)
        return [*_BOARD, *firmware_arguments(replace(files, variables=None))]

"""Virtual machines for arm64: QEMU's board `virt` with AAVMF, the UEFI firmware of Debian's qemu-efi-aarch64."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.support.machines.direct_boot import DirectMachine
from tests.support.machines.qemu import TOOLS, Firmware, Machine

ARM64_TOOLS: Final = (*(tool for tool in TOOLS if tool != "qemu-system-x86_64"), "qemu-system-aarch64")
_AAVMF: Final = Path("/usr/share/AAVMF")
# QEMU computes pointer authentication by its own, faster algorithm (docs/system/arm/cpu-features.rst).
_BOARD: Final = ("qemu-system-aarch64", "-machine", "virt", "-cpu", "max,pauth-impdef=on")


def missing_firmware() -> str:
    """What is missing of the firmware; empty where it is there."""
    return (
        ""
        if (_AAVMF / "AAVMF_CODE.fd").exists()
        else "AAVMF is not installed: apt-get install qemu-efi-aarch64"
    )


class Arm64Machine(Machine):
    """The same as Machine, with UEFI, and with Secure Boot by Microsoft's keys for Firmware.SECURE_BOOT."""

    def _board(self) -> list[str]:
        return [*_BOARD]

    def _firmware_files(self) -> tuple[Path, Path]:
        kind = ".ms" if self._firmware is Firmware.SECURE_BOOT else ""
        return _AAVMF / f"AAVMF_CODE{kind}.fd", _AAVMF / f"AAVMF_VARS{kind}.fd"

    def _pflash(self) -> list[str]:
        """Without system management mode, which only PCs have."""
        options = super()._pflash()
        return options[: options.index("-global")] if "-global" in options else options


class Arm64DirectMachine(DirectMachine):
    """The same as DirectMachine. The kernel, an EFI program, is started by the firmware, which QEMU hands it to: QEMU
    itself does not start those that unpack themselves."""

    SERIAL = "ttyAMA0"

    def _board(self) -> list[str]:
        return [*_BOARD, "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_AAVMF / 'AAVMF_CODE.fd'}"]

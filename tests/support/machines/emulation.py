"""How the machines of tests are emulated: by dibo's own boards and firmware."""

from __future__ import annotations

import os

from dibo.errors import MachineError
from dibo.machines.accelerator import TCG
from dibo.machines.boards import FirmwareKind, board_of
from dibo.machines.firmware import descriptor_directories, find_firmware
from dibo.machines.machine import FirmwareFiles
from tests.support.requirements import unmet

ACCELERATOR = os.environ.get("DIBO_QEMU_ACCEL", TCG)
BOOT_SECONDS = (
    1200.0  # two boots side by side take 90 s under TCG with two cores for themselves, and CI is often busy
)


def emulator(architecture: str) -> str:
    """QEMU's program for an architecture."""
    return board_of(architecture).program


def firmware_files(architecture: str, kind: FirmwareKind) -> FirmwareFiles:
    """For the architecture's usual machine; variables as they are delivered. Raises MachineError."""
    board = board_of(architecture)
    return find_firmware(board, board.machines[0], kind, directories=descriptor_directories(os.environ))


def need_firmware(kind: FirmwareKind, architecture: str = "amd64") -> None:
    """Skip the test unless it is installed; fail it where CI=true."""
    try:
        firmware_files(architecture, kind)
    except MachineError as error:
        unmet(f"{error.message}; {error.hint}")

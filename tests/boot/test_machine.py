"""The harness tells early, and in so many words, why a machine does not come up."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.parts import need, unmet
from tests.support.qemu import Firmware, Machine, MachineError, find_ovmf

pytestmark = pytest.mark.boot


@pytest.fixture
def empty_disk(tmp_path: Path) -> Path:
    need("qemu-system-x86_64", "qemu-img", "setpriv")
    disk = tmp_path / "empty.raw"
    with disk.open("wb") as file:
        file.truncate(1 << 20)
    return disk


@pytest.mark.parametrize(
    ("firmware", "sign"),
    [(Firmware.BIOS, "No bootable device"), (Firmware.UEFI, "UEFI Interactive Shell")],
    ids=["bios", "uefi"],
)
def test_a_disk_that_does_not_boot_is_noticed_on_the_console(
    empty_disk: Path, tmp_path: Path, firmware: Firmware, sign: str
) -> None:
    if firmware is Firmware.UEFI:
        try:
            find_ovmf()
        except MachineError as error:
            unmet(str(error))
    with (
        Machine(empty_disk, directory=tmp_path, firmware=firmware) as machine,
        pytest.raises(MachineError, match=f"(?s)the console says '{sign}'.*the end of the console"),
    ):
        machine.wait_until_up(timeout=60)
    assert sign in machine.console_text()
    assert not machine.overlay.exists()


def test_a_machine_that_dies_is_noticed_at_once(empty_disk: Path, tmp_path: Path) -> None:
    with Machine(empty_disk, directory=tmp_path) as machine:
        os.kill(machine.pid, signal.SIGKILL)
        with pytest.raises(MachineError, match="killed by SIGKILL before the machine was up"):
            machine.wait_until_up(timeout=60)


def test_what_qemu_said_is_part_of_the_failure(empty_disk: Path, tmp_path: Path) -> None:
    machine = Machine(empty_disk, directory=tmp_path, extra=["-device", "nonsense"])
    said = r"(?s)QEMU did not start.*'nonsense' is not a valid device"
    with pytest.raises(MachineError, match=said), machine:
        pass


def test_a_machine_that_never_comes_up_ends_at_the_deadline(empty_disk: Path, tmp_path: Path) -> None:
    with (
        Machine(empty_disk, directory=tmp_path, extra=["-S"]) as machine,  # -S: the processors stand still
        pytest.raises(MachineError, match="no marker within 1 s"),
    ):
        machine.wait_until_up(timeout=1)


def test_the_disk_under_test_is_not_written_to(empty_disk: Path, tmp_path: Path) -> None:
    before = (empty_disk.stat().st_mtime_ns, empty_disk.stat().st_size)
    with Machine(empty_disk, directory=tmp_path, grow_to="1G") as machine:
        machine.press_power_button()
    assert (empty_disk.stat().st_mtime_ns, empty_disk.stat().st_size) == before

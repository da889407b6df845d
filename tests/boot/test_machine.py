"""The harness tells early, and in so many words, why a machine does not come up."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.machines.boot_sector import boot_disk
from tests.support.machines.cloud_init_seed import make_seed
from tests.support.machines.efi_program import removable_disk
from tests.support.machines.emulation import need_firmware
from tests.support.machines.qemu import TOOLS, Firmware, Machine, MachineError
from tests.support.requirements import need
from tests.support.timeouts import TIMEOUT, wait_until

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
    need_firmware(firmware)
    with (
        Machine(empty_disk, directory=tmp_path, firmware=firmware) as machine,
        pytest.raises(MachineError, match=f"(?s)the console says '{sign}'.*the end of the console"),
    ):
        machine.wait_until_up(timeout=TIMEOUT)
    assert sign in machine.console_text()
    assert not machine.overlay.exists()


def test_a_machine_that_dies_is_noticed_at_once(empty_disk: Path, tmp_path: Path) -> None:
    with Machine(empty_disk, directory=tmp_path) as machine:
        os.kill(machine.pid, signal.SIGKILL)
        with pytest.raises(MachineError, match="QEMU was killed by SIGKILL"):
            machine.wait_until_up(timeout=TIMEOUT)


WAITS: Mapping[str, Callable[[Machine], object]] = {
    "up": lambda machine: machine.wait_until_up(timeout=TIMEOUT),
    "off": lambda machine: machine.wait_until_off(timeout=TIMEOUT),
    "words": lambda machine: machine.wait_for_console("login:", timeout=TIMEOUT),
    "ssh": lambda machine: machine.ssh("true", timeout=TIMEOUT),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_a_kernel_that_dies_is_noticed_in_every_wait(
    tmp_path: Path, wait: Callable[[Machine], object]
) -> None:
    """What it says while it dies is kept as well."""
    need(*TOOLS)
    disk = boot_disk(tmp_path / "disk.raw", "[    1.8] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\r\nCPU: 0")
    with Machine(disk, directory=tmp_path, seed=make_seed(tmp_path / "seed")) as machine:
        with pytest.raises(MachineError, match=r"the console says '0000 \[#1\]'"):
            wait(machine)
        wait_until(lambda: machine.console_text().endswith("CPU: 0"), "the rest of the console is kept")


def test_what_qemu_said_is_part_of_the_failure(empty_disk: Path, tmp_path: Path) -> None:
    machine = Machine(empty_disk, directory=tmp_path, extra=["-device", "nonsense"])
    said = r"(?s)QEMU did not start.*'nonsense' is not a valid device"
    with pytest.raises(MachineError, match=said), machine:
        pass


def test_a_machine_that_never_comes_up_ends_at_the_deadline(tmp_path: Path) -> None:
    need(*TOOLS)
    disk = boot_disk(tmp_path / "disk.raw", "halted")
    with (
        Machine(disk, directory=tmp_path) as machine,
        pytest.raises(MachineError, match="no marker within 1 s"),
    ):
        machine.wait_until_up(timeout=1)


def test_secure_boot_starts_nothing_that_is_not_signed(tmp_path: Path) -> None:
    """The same disk starts without it, so it is refused for what it lacks."""
    need(*TOOLS)
    need_firmware(Firmware.UEFI)
    need_firmware(Firmware.SECURE_BOOT)
    disk = tmp_path / "unsigned.img"
    removable_disk(disk, "unsigned code runs")
    with Machine(disk, directory=tmp_path, firmware=Firmware.UEFI, name="off") as machine:
        machine.wait_for_console("unsigned code runs")
    with Machine(disk, directory=tmp_path, firmware=Firmware.SECURE_BOOT, name="on") as machine:
        machine.wait_for_console("failed to load")
        text = machine.console_text()
    assert re.search(r"failed to load Boot0001 .*: Access Denied", text), text
    assert "unsigned code runs" not in text


def test_the_disk_under_test_is_not_written_to(empty_disk: Path, tmp_path: Path) -> None:
    before = (empty_disk.stat().st_mtime_ns, empty_disk.stat().st_size)
    with Machine(empty_disk, directory=tmp_path, grow_to="1G") as machine:
        machine.press_power_button()
    assert (empty_disk.stat().st_mtime_ns, empty_disk.stat().st_size) == before

"""Boots one image, built once, on two machines at the same time: BIOS and UEFI.

A boot takes over a minute of two cores without KVM, so boots are few and waiting is shared: both machines go
through the same stages side by side (first boot, reboot, power off); after each, everything that tests want to
know is read through one SSH connection; the tests then look at values. What goes wrong on one machine fails
the tests of that machine and leaves the other alone.

DIBO_BOOT_IMAGE names an image that is there already, for work on the tests themselves.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest

from dibo.errors import CommandFailed
from tests.boot.stages import Seen, Stage
from tests.support import user
from tests.support.parts import need, unmet
from tests.support.qemu import TOOLS, Firmware, Machine, MachineError, find_ovmf
from tests.support.seed import make_seed

FLAVOURS = Path(__file__).parent / "flavours"
STACK = ("vm", "first-boot-probe", "first-boot-probe-again")
GROWN = "6G"
TOKEN = "/var/lib/first-boot-probe/token"
BUILD_SECONDS = 1800.0

QUESTIONS = {
    "user": "id -un",
    "root by sudo": "sudo -n id -u",
    "host name": "hostname",
    "failed units": "systemctl --failed --no-legend --plain | awk '{print $1}'",
    "errors": "sudo journalctl -b --no-pager -p err | tail -n 30",
    "log": "cat /var/lib/first-boot-probe/log",
    "first-boot.d": "ls -d /etc/first-boot.d 2>/dev/null",
    "root": "findmnt -no FSTYPE,LABEL /",
    "root size": "df --output=size -B1 / | tail -n 1",
    "esp": "findmnt -no FSTYPE,LABEL /boot/efi",
    "partition table": "sudo sfdisk --verify /dev/vda 2>&1",
    "host keys": "cut -d' ' -f1,2 /etc/ssh/ssh_host_*_key.pub",
    "machine id": "cat /etc/machine-id",
    "firmware": "test -d /sys/firmware/efi && echo uefi || echo bios",
    "bad news": "sudo dmesg --level=emerg,alert,crit; sudo dmesg | grep -i 'ext4-fs.*\\(error\\|recover\\)'",
}
# Asked last at the first boot: the second boot then goes by the grub.cfg that the machine wrote itself.
UPDATE_GRUB = {
    "grub.cfg of the image": "sudo sha256sum < /boot/grub/grub.cfg",
    "update-grub": "sudo update-grub 2>&1; echo exit code $?",
    "grub.cfg": "sudo cat /boot/grub/grub.cfg",
}


@pytest.fixture(scope="session")
def image() -> Iterator[Path]:
    """A qcow2 disk of `vm` and the probes on Debian, built by a user who is not root."""
    need(*TOOLS)
    if given := os.environ.get("DIBO_BOOT_IMAGE"):
        yield Path(given)
        return
    need("buildah", "newuidmap", "mmdebstrap", "mke2fs")
    try:
        builder = user.ordinary_user()
    except user.NoOrdinaryUser as error:
        unmet(str(error))
    directory = user.directory_of(builder)
    try:
        output = directory / "probe.qcow2"
        options = ["-o", str(output), "--base", "debian", "--flavours-path", str(FLAVOURS)]
        try:
            user.run_as(builder, "disk-image-create", [*options, *STACK], timeout=BUILD_SECONDS)
        except CommandFailed as error:
            pytest.fail("\n".join(("disk-image-create failed:", *error.tail)), pytrace=False)
        yield output
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def machines(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Firmware, Machine]]:
    """Both machines, started. The BIOS machine has a larger disk, and the token that a first-boot hook
    wants.
    """
    try:
        find_ovmf()
    except MachineError as error:
        unmet(str(error))
    top = tmp_path_factory.mktemp("boot")
    bios_seed = make_seed(top / "bios", hostname="probe-bios", files=[(TOKEN, "\n")])
    uefi_seed = make_seed(top / "uefi", hostname="probe-uefi")
    bios = Machine(image, directory=top / "bios", seed=bios_seed, grow_to=GROWN, name="bios")
    uefi = Machine(image, directory=top / "uefi", seed=uefi_seed, firmware=Firmware.UEFI, name="uefi")
    with bios, uefi:
        yield {Firmware.BIOS: bios, Firmware.UEFI: uefi}


@pytest.fixture(scope="module")
def first(machines: dict[Firmware, Machine]) -> Stage:
    """The first boot."""
    return Stage(machines).then(lambda machine: _look(machine, QUESTIONS | UPDATE_GRUB))


@pytest.fixture(scope="module")
def second(first: Stage) -> Stage:
    """The second boot, before which the UEFI machine gets the token that it lacked."""

    def restart(machine: Machine) -> None:
        machine.ssh(f"sudo touch {TOKEN}")
        machine.start_reboot()

    return first.then(restart, lambda machine: _look(machine, QUESTIONS))


@pytest.fixture(scope="module")
def off(second: Stage) -> Stage:
    """Powered off by the power button, as a cloud does."""
    return second.then(Machine.press_power_button, Machine.wait_until_off)


def _look(machine: Machine, questions: Mapping[str, str]) -> Seen:
    up = machine.wait_until_up()
    return Seen(up=up, answers=machine.ask(questions))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the consoles with each failure."""
    report = yield
    running = getattr(item, "funcargs", {}).get("machines") or {}
    if report.failed:
        for machine in running.values():
            report.sections.append((f"console of {machine.name}: {machine.console}", machine.console_tail()))
    return report

"""Boots one image, built once, on two machines at the same time: BIOS and UEFI.

A boot takes over a minute of two cores without KVM, so boots are few and waiting is shared: both machines go
through the same stages side by side (first boot, reboot, power off); after each, everything that tests want to
know is read through one SSH connection; the tests then look at values. What goes wrong on one machine fails
the tests of that machine and leaves the other alone.

The UEFI machine has Secure Boot on at its first boot and off at its second: the image as it was made must start
with it.

DIBO_BOOT_IMAGE names an image that is there already, for work on the tests themselves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from dibo.errors import CommandFailed
from tests.boot.stages import Seen, Stage
from tests.support import user
from tests.support.host import confine
from tests.support.machines.cloud_init_seed import make_seed
from tests.support.machines.direct_boot import TOOLS as RAMDISK_TOOLS
from tests.support.machines.emulation import need_firmware
from tests.support.machines.overlays import other_disk
from tests.support.machines.qemu import TOOLS, Firmware, Machine
from tests.support.requirements import need
from tests.support.servers.registry import registry

FLAVOURS = Path(__file__).parent / "flavours"
LAYOUTS = Path(__file__).parent / "layouts"
STACK = ("vm", "first-boot-probe", "first-boot-probe-again")
GROWN = "20G"
TOKEN = "/var/lib/first-boot-probe/token"
BUILD_SECONDS = 1800.0
NOBODY = 65_534

# Who names a variable of UEFI: the specification (3.3, EFI_GLOBAL_VARIABLE), and shim (SHIM_LOCK_GUID of its guid.c).
GLOBAL_VARIABLE = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
SHIM_LOCK = "605dab50-e046-4300-abb6-3dd810dd8b23"

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
    "partition table": "sudo sfdisk --verify /dev/disk/by-id/virtio-own 2>&1",
    "disks of mounts": "for source in $(findmnt -rno SOURCE -t ext4,vfat) $(swapon --noheadings --show=NAME); do "
    "lsblk -dno SERIAL /dev/$(lsblk -no PKNAME $source); done | sort -u",
    "disks": "lsblk -dno SERIAL,PTUUID | sort",
    "command line": "cat /proc/cmdline",
    "mounts": "findmnt -rno TARGET,FSTYPE,LABEL -t ext4,vfat",
    "swap": "sudo swapon --noheadings --bytes --show=TYPE,SIZE,LABEL",
    "fstab": "cat /etc/fstab",
    "below mounts": "sudo mount --bind / /mnt && sudo find /mnt/boot /mnt/mnt -mindepth 1; sudo umount /mnt",
    "host keys": "cut -d' ' -f1,2 /etc/ssh/ssh_host_*_key.pub",
    "machine id": "cat /etc/machine-id",
    "firmware": "test -d /sys/firmware/efi && echo uefi || echo bios",
    "Secure Boot": f"od -An -t u1 /sys/firmware/efi/efivars/SecureBoot-{GLOBAL_VARIABLE}",
    "setup mode": f"od -An -t u1 /sys/firmware/efi/efivars/SetupMode-{GLOBAL_VARIABLE}",
    "shim": f"ls /sys/firmware/efi/efivars | grep -c MokListRT-{SHIM_LOCK}",
    "lockdown": "cat /sys/kernel/security/lockdown",
    "bad news": "sudo dmesg --level=emerg,alert,crit; sudo dmesg | grep -i 'ext4-fs.*\\(error\\|recover\\)'",
}
# Asked last at the first boot: the second boot then goes by the grub.cfg that the machine wrote itself.
UPDATE_GRUB = {
    "grub.cfg of the image": "sudo sha256sum < /boot/grub/grub.cfg",
    "update-grub": "sudo update-grub 2>&1; echo exit code $?",
    "grub.cfg": "sudo cat /boot/grub/grub.cfg",
}


# Takes all but the last 200 MiB as extents without data, which costs nothing, and then writes until nothing goes.
FILL_UP = {
    "fill-up": 'sudo sh -c \'set -- $(stat -f -c "%f %S" /); fallocate -l $(($1 * $2 - (200 << 20))) /fill; '
    "dd if=/dev/zero of=/fill-more bs=1M 2>&1; sync'",
    "room left": "sudo sh -c 'stat -f -c %f /'",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Disks:
    """One image as two commands made it: `disk-image-create`, and `dibo convert` of what was pushed to a registry."""

    built: Path
    converted: Path
    apart: Path
    """Converted with /boot, /var, swap and another file system on partitions of their own."""
    mbr: Path
    """The same with an MBR."""
    name: str = ""
    """Of the image in the registry that `converted` was made of; the registry is there as long as the disks."""
    cache: str = ""
    """A repository of that registry that holds all its layers."""
    wishes: tuple[str, ...] = ()
    """The words that it was built by, after the name of the output."""


@pytest.fixture(scope="session")
def disks() -> Iterator[Disks]:
    """qcow2 disks of `vm` and the probes on Debian, built by a user who is not root, and converted by one who is
    nobody and may make no namespaces.
    """
    need(*TOOLS)
    if given := os.environ.get("DIBO_BOOT_IMAGE"):
        yield Disks(built=Path(given), converted=Path(given), apart=Path(given), mbr=Path(given))
        return
    need("buildah", "newuidmap", "mmdebstrap", "docker-registry")
    builder = user.need_ordinary_user()
    directory = user.directory_of(builder)
    directory.chmod(0o755)
    (directory / "registry").mkdir()
    wishes = ["--base", "debian", "--flavours-path", str(FLAVOURS)]
    output = directory / "probe.qcow2"
    try:
        with registry(directory / "registry") as server:
            name = f"{server.host}/probe:1"
            try:
                run = partial(user.run_as, builder, timeout=BUILD_SECONDS)
                cache = f"{server.host}/cache"
                run("disk-image-create", ["-o", str(output), "--cache-to", cache, *wishes, *STACK])
                run("dibo", ["build", "--push", name, *wishes, *STACK])
            except CommandFailed as error:
                pytest.fail("\n".join(("the build failed:", *error.tail)), pytrace=False)
            yield Disks(
                built=output,
                converted=_converted(name, directory),
                apart=_converted(name, directory, "apart"),
                mbr=_converted(name, directory, "mbr"),
                name=name,
                cache=cache,
                wishes=(*wishes, *STACK),
            )
    finally:
        shutil.rmtree(directory)


def _converted(name: str, directory: Path, layout: str = "") -> Path:
    """The disk of a pushed image, by a user with no subordinate ids, with no program on PATH, where seccomp forbids all
    namespaces and mounts. Where the tests are not run by root, by whoever runs them.
    """
    output = directory / f"converted{layout}"
    output.mkdir()
    more = []
    if layout:
        copy = shutil.copy(LAYOUTS / f"{layout}.yaml", directory)
        more = ["--layout", str(copy), "--image-size", "4"]
    around = []
    if os.geteuid() == 0:
        os.chown(output, NOBODY, NOBODY)
        shutil.copy(confine.__file__, directory / "confine.py")
        options = ("--id", str(NOBODY), "--no-containers", "--")
        around = [sys.executable, "-I", str(directory / "confine.py"), *options]
    argv = [*around, user.program("dibo"), "convert", name, "-o", str(output / "probe.qcow2"), *more]
    nothing = {"PATH": "/nonexistent"}
    done = subprocess.run(argv, capture_output=True, text=True, cwd="/", timeout=BUILD_SECONDS, env=nothing)
    if done.returncode != 0:
        pytest.fail(f"dibo convert failed:\n{done.stderr}", pytrace=False)
    return output / "probe.qcow2"


@pytest.fixture(scope="session")
def image(disks: Disks) -> Path:
    return disks.converted


@pytest.fixture(scope="session")
def ramdisk() -> Iterator[Path]:
    """`deploy` on Debian."""
    yield from built("DIBO_BOOT_RAMDISK", "deploy")


@pytest.fixture(scope="session")
def examiner() -> Iterator[Path]:
    """`hwdiscovery`, and then `hwburnin`."""
    yield from built("DIBO_BOOT_EXAMINER", "hwdiscovery", "hwburnin")


def built(variable: str, *flavours: str) -> Iterator[Path]:
    """A ramdisk, built by a user who is not root."""
    need(*RAMDISK_TOOLS)
    if given := os.environ.get(variable):
        yield Path(given)
        return
    need("buildah", "newuidmap", "mmdebstrap")
    builder = user.need_ordinary_user()
    directory = user.directory_of(builder)
    try:
        output = directory / "test.ramdisk"
        options = ["-o", str(output), "--base", "debian"]
        try:
            user.run_as(builder, "ramdisk-image-create", [*options, *flavours], timeout=BUILD_SECONDS)
        except CommandFailed as error:
            pytest.fail("\n".join(("ramdisk-image-create failed:", *error.tail)), pytrace=False)
        yield output
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def machines(disks: Disks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Firmware, Machine]]:
    """Both machines, started. The BIOS machine has a larger disk, and the token that a first-boot hook
    wants; that of the UEFI machine is laid out in another way. Each has a second disk of its image, of
    another deployment, and finds that one first.
    """
    need_firmware(Firmware.UEFI)
    need_firmware(Firmware.SECURE_BOOT)
    top = tmp_path_factory.mktemp("boot")
    bios_seed = make_seed(top / "bios", hostname="probe-bios", files=[(TOKEN, "\n")])
    uefi_seed = make_seed(top / "uefi", hostname="probe-uefi")
    bios = Machine(
        disks.converted,
        directory=top / "bios",
        seed=bios_seed,
        grow_to=GROWN,
        others=[other_disk(disks.converted, top / "bios" / "other.qcow2")],
        name="bios",
    )
    uefi = Machine(
        disks.apart,
        directory=top / "uefi",
        seed=uefi_seed,
        firmware=Firmware.SECURE_BOOT,
        others=[other_disk(disks.apart, top / "uefi" / "other.qcow2")],
        name="uefi",
    )
    with bios, uefi:
        yield {Firmware.BIOS: bios, Firmware.UEFI: uefi}


@pytest.fixture(scope="module")
def first(machines: dict[Firmware, Machine]) -> Stage:
    """The first boot."""
    return Stage(machines).then(lambda machine: _look(machine, QUESTIONS | UPDATE_GRUB))


@pytest.fixture(scope="module")
def second(first: Stage) -> Stage:
    """The second boot, before which the UEFI machine gets the token that it lacked, and Secure Boot is turned off."""

    def restart(machine: Machine) -> None:
        machine.ssh(f"sudo touch {TOKEN}")
        machine.start_reboot(Firmware.UEFI if machine.name == "uefi" else None)

    return first.then(restart, lambda machine: _look(machine, QUESTIONS))


@pytest.fixture(scope="module")
def off(second: Stage) -> Stage:
    """Powered off by the power button, as a cloud does; the BIOS machine with a root file system that is full."""

    def fill_up(machine: Machine) -> Seen | None:
        if machine.name != "bios":
            return None
        before = second.of(Firmware.BIOS)
        return Seen(up=before.up, answers={**before.answers, **machine.ask(FILL_UP)})

    return second.then(fill_up, Machine.press_power_button, Machine.wait_until_off)


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

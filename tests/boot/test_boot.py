"""An image of `vm` on Debian boots: what a first boot, a second boot and a power-off must look like.

Both machines run copies of one image. They differ in firmware (UEFI: with Secure Boot on, then off), in the size of
the disk (BIOS: grown), and in a file that a first-boot hook wants to see: on the UEFI machine it is missing at first,
so there the hook fails.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import pytest

from dibo.api.machines.boot import BootOutputs, boot
from dibo.api.machines.request import BootRequest
from dibo.api.settings import current_settings
from dibo.machines.steps import parse_steps
from dibo.settings.settings import Options
from dibo.system import process
from dibo.system.report import Report
from tests.boot.conftest import Disks
from tests.boot.stages import Seen, Stage
from tests.support.machines.direct_boot import free_port
from tests.support.machines.emulation import BOOT_SECONDS
from tests.support.machines.overlays import file_system_problems
from tests.support.machines.qemu import Firmware, Machine
from tests.support.requirements import need
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.boot

BIOS, UEFI = Firmware.BIOS, Firmware.UEFI
BOTH = pytest.mark.parametrize("firmware", [BIOS, UEFI], ids=["bios", "uefi"])
GIB = 1 << 30

# Sorted by name, then by the flavour's place; rc.local after all of them.
BEFORE_THE_TOKEN = [
    "10-first first-boot-probe",
    "10-first first-boot-probe-again",
    "20-second first-boot-probe",
    "20-second first-boot-probe-again",
    "30-network-and-metadata first-boot-probe",
    "40-needs-token first-boot-probe",
]
AFTER_THE_TOKEN = ["50-last first-boot-probe"]


def ran_in(seen: Seen) -> list[str]:
    """What ran in the boot that `seen` is of, in order: hook and flavour."""
    return [
        f"{name} {flavour}"
        for name, flavour, boot in map(str.split, seen.lines("log"))
        if boot == seen.up.boot_id
    ]


def hooks(ran: Iterable[str]) -> list[str]:
    return [each for each in ran if not each.startswith("rc.local ")]


@BOTH
def test_it_boots_with_this_firmware(first: Stage, firmware: Firmware) -> None:
    assert first.of(firmware)["firmware"] == firmware.value


# An EFI variable as Linux shows it: four bytes of attributes, then the value (kernel documentation, efivarfs). Both
# these may only be read: boot service access 2, runtime access 4.
ON, OFF = ["6", "0", "0", "0", "1"], ["6", "0", "0", "0", "0"]


def test_it_boots_with_secure_boot_on(first: Stage) -> None:
    seen = first.of(UEFI)
    assert (seen["Secure Boot"].split(), seen["setup mode"].split()) == (ON, OFF)
    assert seen["shim"] == "1"
    assert "[integrity]" in seen["lockdown"]  # the kernel knows, and takes no modules that are not signed


def test_it_boots_with_secure_boot_off(second: Stage) -> None:
    seen = second.of(UEFI)
    assert (seen["firmware"], seen["Secure Boot"].split()) == ("uefi", OFF)
    assert "[none]" in seen["lockdown"]


@BOTH
def test_the_key_from_metadata_opens_the_default_user_who_may_sudo(first: Stage, firmware: Firmware) -> None:
    seen = first.of(firmware)
    assert (seen["user"], seen["root by sudo"]) == ("debian", "0")


@BOTH
def test_the_host_name_comes_from_metadata(first: Stage, firmware: Firmware) -> None:
    assert first.of(firmware)["host name"] == f"probe-{firmware.value}"


@BOTH
def test_root_and_esp_are_mounted(first: Stage, firmware: Firmware) -> None:
    seen = first.of(firmware)
    assert seen["root"].split() == ["ext4", "cloudimg-rootfs" if firmware is BIOS else "apart-root"]
    assert seen["esp"].split()[:1] == ["vfat"]


def test_each_file_system_of_the_layout_is_where_it_belongs(first: Stage) -> None:
    seen = first.of(UEFI)
    mounts = {line.split()[0]: line.split()[1:] for line in seen.lines("mounts")}
    assert mounts == {
        "/": ["ext4", "apart-root"],
        "/boot": ["ext4", "boot"],
        "/boot/efi": ["vfat", "UEFI"],
        "/mnt/state": ["ext4", "state"],
        "/var": ["ext4"],
    }
    assert seen["swap"].split()[0] == "partition"
    assert int(seen["swap"].split()[1]) == (128 << 20) - 4096
    assert seen.lines("below mounts") == ["/mnt/mnt/state"]


def test_fstab_follows_from_the_layout(first: Stage) -> None:
    by_mount = {line.split()[1]: line.split() for line in first.of(UEFI).lines("fstab")}
    assert by_mount["/boot"][0] == "/dev/disk/by-root-disk/boot"
    assert by_mount["/var"][3].startswith("noatime,nodev,")
    assert by_mount["none"][:1] == ["/dev/disk/by-root-disk/swap"]


@BOTH
def test_beside_a_disk_of_the_same_image_everything_is_on_its_own(first: Stage, firmware: Firmware) -> None:
    seen = first.of(firmware)
    assert [line.split()[0] for line in seen.lines("disks") if line.split()[1:]] == ["other", "own"]
    assert seen["disks of mounts"] == "own"
    assert "root=PARTUUID=" in seen["command line"]


@BOTH
def test_so_it_is_by_the_menu_that_update_grub_wrote(second: Stage, firmware: Firmware) -> None:
    seen = second.of(firmware)
    assert seen["disks of mounts"] == "own"
    assert "root=PARTUUID=" in seen["command line"]


def test_a_disk_with_an_mbr_starts_its_kernel(disks: Disks, tmp_path: Path) -> None:
    """GRUB before the first partition, /boot in that, the root in a logical one: as far as the kernel, which is told
    where its root is."""
    with Machine(disks.mbr, directory=tmp_path) as machine:
        machine.wait_for_console("Command line: ")
        machine.wait_for_console("root=PARTUUID=")
        assert "BOOT_IMAGE=/vmlinuz-" in machine.console_text()


@BOTH
def test_the_partition_table_is_sound(first: Stage, firmware: Firmware) -> None:
    assert "No errors detected" in first.of(firmware)["partition table"]


def test_nothing_failed(first: Stage) -> None:
    seen = first.of(BIOS)
    assert (seen.up.state, seen["failed units"]) == ("running", ""), seen["errors"]


def test_first_boot_hooks_ran_once_in_order_before_rc_local(first: Stage) -> None:
    seen = first.of(BIOS)
    assert ran_in(seen) == [*BEFORE_THE_TOKEN, *AFTER_THE_TOKEN, "rc.local image"]
    assert len(seen.lines("log")) == len(ran_in(seen))
    assert seen["first-boot.d"] == ""


def test_the_root_file_system_grew_with_the_disk(first: Stage) -> None:
    assert int(first.of(BIOS)["root size"]) > 19 * GIB > 5 * GIB > int(first.of(UEFI)["root size"])


def test_the_pushed_image_converts_to_the_very_disk_that_the_build_made(disks: Disks) -> None:
    """Byte for byte, as a guest sees it: clusters of qcow2 lie in the order in which layers came."""
    argv = ["qemu-img", "compare", "-q", str(disks.built), str(disks.converted)]
    assert process.run(argv, check=False).returncode == 0


def test_a_full_root_file_system_says_so(off: Stage) -> None:
    seen = off.of(BIOS)
    assert "No space left on device" in seen["fill-up"]
    assert int(seen["room left"]) <= 4096  # blocks that ext4 keeps for itself (ext4_set_resv_clusters)


def test_copies_have_host_keys_and_a_machine_id_of_their_own(first: Stage) -> None:
    one, other = first.of(BIOS), first.of(UEFI)
    assert "ssh-ed25519" in one["host keys"]
    assert not set(one.lines("host keys")) & set(other.lines("host keys"))
    assert len(one["machine id"]) == len(other["machine id"]) == 32
    assert one["machine id"] != other["machine id"]


@BOTH
def test_update_grub_works_in_the_machine(first: Stage, firmware: Firmware) -> None:
    seen = first.of(firmware)
    assert seen.lines("update-grub")[-1] == "exit code 0", seen["update-grub"]
    assert "menuentry" in seen["grub.cfg"]
    assert "console=ttyS0" in seen["grub.cfg"]


def test_a_failing_first_boot_hook_is_a_failed_unit_and_holds_back_later_hooks(first: Stage) -> None:
    seen = first.of(UEFI)
    assert seen["failed units"] == "dibo-first-boot.service", seen["errors"]
    assert hooks(ran_in(seen)) == BEFORE_THE_TOKEN
    assert seen["first-boot.d"] == "/etc/first-boot.d"


def test_a_failed_first_boot_hook_runs_again_at_the_next_boot_and_only_it(second: Stage) -> None:
    assert hooks(ran_in(second.of(UEFI))) == ["40-needs-token first-boot-probe", *AFTER_THE_TOKEN]


@BOTH
def test_the_second_boot_is_clean(first: Stage, second: Stage, firmware: Firmware) -> None:
    before, seen = first.of(firmware), second.of(firmware)
    assert seen.up.boot_id != before.up.boot_id
    assert (seen.up.state, seen["failed units"]) == ("running", ""), seen["errors"]
    assert seen["bad news"] == ""
    assert seen["first-boot.d"] == ""
    assert "rc.local image" in ran_in(seen)
    assert (seen["host keys"], seen["machine id"]) == (before["host keys"], before["machine id"])


def test_first_boot_hooks_do_not_run_again(second: Stage) -> None:
    assert hooks(ran_in(second.of(BIOS))) == []


@BOTH
def test_the_power_button_turns_it_off_and_its_file_system_is_clean_full_or_not(
    off: Stage, machines: dict[Firmware, Machine], firmware: Firmware, tmp_path: Path
) -> None:
    need("e2fsck", "sfdisk")
    off.of(firmware)
    assert file_system_problems(machines[firmware].overlay, tmp_path) == ""


@pytest.mark.long
def test_dibo_boot_runs_commands(disks: Disks, tmp_path: Path) -> None:
    """As the image's default user; a page of the guest comes through a forwarded port. The file stays as it is."""
    pages: list[str] = []
    port = free_port()

    def on_line(line: str) -> None:
        if line == "listening":
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/os-release", timeout=TIMEOUT) as page:
                pages.append(page.read().decode())

    serve = (
        "python3 -m http.server --directory /usr/lib 8000 >/dev/null 2>&1 & server=$!;"
        " until (: </dev/tcp/127.0.0.1/8000) 2>/dev/null; do sleep 1; done; echo listening; sleep 5; kill $server"
    )
    request = BootRequest(
        image=str(disks.built),
        accelerator=os.environ.get("DIBO_QEMU_ACCEL", "tcg").partition(",")[0],
        ports=(f"{port}:8000",),
        timeout=BOOT_SECONDS,
        name="booted",
        steps=parse_steps(
            [{"run": "id -un; hostname; sudo -n id -u"}, {"run": serve}, {"run": "exit 7"}, {"run": "true"}]
        ),
    )
    before = disks.built.stat()
    settings = current_settings(Options(cache_dir=str(tmp_path / "cache")), {})
    result = boot(settings, request, Report(), BootOutputs(on_line=on_line))
    assert [step.code for step in result.steps] == [0, 0, 7]
    assert result.exit_code == 7
    assert (result.steps[0].output or "").split() == ["debian", "booted", "0"]
    assert "ID=debian" in pages[0]
    assert (disks.built.stat().st_mtime_ns, disks.built.stat().st_size) == (
        before.st_mtime_ns,
        before.st_size,
    )

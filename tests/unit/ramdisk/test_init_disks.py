"""Which disk a ramdisk writes to: /init's functions, on a made /sys with a fake udevadm."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.init_functions import init_functions
from tests.support.programs import fake

pytestmark = pytest.mark.slow

GB = 10**9
STICK = "pci0000:00/usb1/1-1/host6/target6:0:0/6:0:0:0/block/sda"
NVME = "pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1"
SAS = "pci0000:00/host0/port-0:0/end_device-0:0/target0:0:0/0:0:0:0/block/sdb"


APPLETS = ("awk", "basename", "cat", "cut", "grep", "head", "readlink", "sed", "tail", "tr")


class Machine:
    """`/sys` of one, and what udev knows."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.sys = top / "sys"
        (self.sys / "class/block").mkdir(parents=True)
        (top / "udev").mkdir()
        body = f'for name; do :; done; cat "{top}/udev/$(basename "${{name#--name=}}")" 2>/dev/null'
        fake(top, "udevadm", f'[ "$1" != settle ] || exit 0\n{body}')
        fake(top, "sleep", "exit 0")
        if busybox := shutil.which(
            "busybox"
        ):  # what ramdisks have, and leaner than the programs of this machine
            for name in APPLETS:
                (top / "bin" / name).symlink_to(busybox)

    def disk(
        self,
        path: str,
        size: int,
        *,
        files: dict[str, str] | None = None,
        removable: int = 0,
        udev: dict[str, str] | None = None,
    ) -> None:
        directory = self.sys / "devices" / path
        (directory / "device").mkdir(parents=True)
        (directory / "queue").mkdir()
        contents = {"size": f"{size // 512}", "removable": f"{removable}", "ro": "0", **(files or {})}
        for name, text in contents.items():
            (directory / name).write_text(f"{text}\n")
        name = directory.name
        (self.sys / "class/block" / name).symlink_to(directory)
        text = "".join(f"{key}={value}\n" for key, value in (udev or {}).items())
        (self.top / "udev" / name).write_text(text)

    def run(self, script: str) -> str:
        text = f"{init_functions()}\nSYS={self.sys}\nDISK=\n{script}"
        text = text.replace("export PATH=", "export UNUSED=", 1)
        environment = {"PATH": f"{self.top}/bin:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, env=environment)
        assert done.stderr == ""
        return done.stdout.strip()

    def chosen(self, wanted: str) -> str:
        return self.run(f"find_disk '{wanted}'")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A USB stick that is sda, a SAS disk with a WWN, an NVMe."""
    made = Machine(tmp_path)
    made.disk(STICK, 32 * GB, udev={"ID_SERIAL_SHORT": "STICK1", "ID_PATH": "pci-0000:00:14.0-usb-0:1:1.0"})
    made.disk(
        SAS,
        480103981056,
        files={"device/wwid": "naa.5000C500A1B2C3D4", "device/vpd_pg80": "\0\x80\0\x08ZA1B2C3D"},
        udev={"ID_SERIAL_SHORT": "5000c500a1b2c3d4", "ID_WWN": "0x5000c500a1b2c3d4"},
    )
    made.disk(
        NVME,
        1920383410176,
        files={
            "device/serial": "S4EMNX0  ",
            "wwid": "eui.0025388b91d2f3a4",
            "queue/logical_block_size": "4096",
        },
    )
    return made


def test_a_stick_is_not_taken_though_it_is_the_first(machine: Machine) -> None:
    assert machine.chosen("") == "/dev/sdb"


def test_nothing_but_removable_disks_is_no_disk(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.disk(STICK, 32 * GB)
    machine.disk("pci0000:00/mmc_host/mmc0/mmc0:1/block/mmcblk0", 32 * GB, files={"device/type": "SD"})
    machine.disk("pci0000:00/host1/block/sdc", 32 * GB, removable=1)
    machine.disk("pci0000:00/ata3/host2/block/sr0", 4 * GB)
    assert machine.run("find_disk '' || no_disk") == (
        "none of these disks is there: any that is not removable (disk= names others); there are: "
        "mmcblk0 (sd, 32000 MB, serial unknown, removable);"
        " sda (usb, 32000 MB, serial unknown, removable); sdc (scsi, 32000 MB, serial unknown, removable)"
    )


@pytest.mark.parametrize(
    ("wanted", "disk"),
    [
        ("nvme0n1,sdb", "nvme0n1"),
        ("vda,nvme0n1,sdb", "nvme0n1"),
        ("sda", "sda"),
        ("/dev/sdb", "sdb"),
        ("serial=S4EMNX0", "nvme0n1"),
        ("serial=ZA1B2C3D", "sdb"),
        ("serial=STICK1", "sda"),
        ("wwn=0x5000c500a1b2c3d4", "sdb"),
        ("wwn=naa.5000c500a1b2c3d4", "sdb"),
        ("wwn=eui.0025388b91d2f3a4", "nvme0n1"),
        ("path=pci-0000:00:14.0-usb-0:1:1.0", "sda"),
        ("size=480G", "sdb"),
        ("size=1.92T", "nvme0n1"),
        ("size=100G-500G", "sdb"),
        ("size=1T-", "nvme0n1"),
        ("size=1Ti-,sdb", "nvme0n1"),
        ("size=32G", ""),
        ("serial=OTHER,sdb", "sdb"),
        ("vda", ""),
    ],
)
def test_what_disk_may_say(machine: Machine, wanted: str, disk: str) -> None:
    assert machine.chosen(wanted) == (f"/dev/{disk}" if disk else "")


def test_a_disk_that_comes_late_counts_by_its_place_in_the_list(machine: Machine) -> None:
    """The bus of the first one takes its time: the second, which is there at once, is not the one."""
    late = machine.sys / "class/block/sdb"
    target = late.readlink()
    late.unlink()
    script = f"udevadm() {{ [ -e {late} ] || ln -s {target} {late}; }}; find_disk sdb,nvme0n1"
    assert machine.run(script) == "/dev/sdb"


@pytest.mark.parametrize(
    ("path", "bus"),
    [
        ("pci0000:00/0000:00:03.0/virtio1/block/vda", "virtio"),
        ("pci0000:00/0000:00:04.0/virtio2/host6/target6:0:0/6:0:0:0/block/sda", "scsi"),
        ("pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0/block/sda", "ata"),
        ("platform/host4/session1/target4:0:0/4:0:0:1/block/sda", "iscsi"),
        (STICK, "usb"),
        (SAS, "sas"),
        (NVME, "nvme"),
    ],
)
def test_buses(path: str, bus: str, tmp_path: Path) -> None:
    """By the paths that Linux gives disks in /sys."""
    machine = Machine(tmp_path)
    machine.disk(path, 32 * GB)
    assert machine.run(f"disk_bus {Path(path).name}") == bus


def test_facts_of_disks(machine: Machine) -> None:
    said = machine.run(
        'for d in sda sdb nvme0n1; do echo "$(disk_bus $d) $(disk_serial $d) $(disk_wwn $d)"; done;'
        "disk_sector_size nvme0n1"
    )
    assert said.splitlines() == [
        "usb STICK1 ",
        "sas ZA1B2C3D 5000c500a1b2c3d4",
        "nvme S4EMNX0 0025388b91d2f3a4",
        "4096",
    ]

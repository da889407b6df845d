"""What the scripts of a kit do with disks, drivers and the clock of a machine: on a made /sys, with programs that only
note what they were called with, and sfdisk on a file."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from dibo.system import resources
from tests.support.host.namespaces import apart
from tests.support.programs import fake
from tests.support.requirements import need

FUNCTIONS = resources.shared("converters") / "kit" / "functions"
MIB = 2048


def shell(tmp_path: Path, text: str) -> str:
    """Run `text` with the functions of the kit, which see the /sys, /dev and /proc in `tmp_path`; what it prints."""
    functions = "\n".join(path.read_text() for path in sorted(FUNCTIONS.iterdir()))
    functions = re.sub(r"(?<![\w*}])(?=/(?:dev|sys|proc)/)", str(tmp_path), functions)
    (tmp_path / "dev").mkdir(exist_ok=True)
    (tmp_path / "run").mkdir(exist_ok=True)
    path = f"{tmp_path}/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    head = f"set -u\nexport PATH={path}\nkit={tmp_path} service={tmp_path}/service run={tmp_path}/run stopping=\n"
    (tmp_path / "script").write_text(f"{head}{functions}\n{text}\n")
    return apart(["dash", str(tmp_path / "script")], {"PATH": "/usr/bin:/bin"})


def log(tmp_path: Path) -> list[str]:
    file = tmp_path / "log"
    return file.read_text().replace(str(tmp_path), "").splitlines() if file.exists() else []


def note(tmp_path: Path, *names: str) -> None:
    for name in names:
        fake(tmp_path, name, f'echo {name} "$@" >>{tmp_path}/log')


def attributes(directory: Path, **texts: object) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name).write_text(f"{text}\n")


def root_on(
    tmp_path: Path, disk_size: int, *, number: int = 2, size: int = 20 * MIB, options: str = "rw"
) -> Path:
    """A disk vda of `disk_size` sectors, whose partition `number` is the root; the file that is the disk."""
    top = tmp_path / "sys/devices/virtio0/block/vda"
    attributes(top, size=disk_size)
    attributes(top / "queue", logical_block_size=512)
    attributes(top / "vda1", start=2048, size=2 * MIB, partition=1)
    attributes(top / f"vda{number}", start=4 * MIB, size=size, partition=number)
    numbers = tmp_path / "sys/dev/block"
    numbers.mkdir(parents=True)
    (numbers / "254:2").symlink_to(top / f"vda{number}")
    (tmp_path / "sys/block").mkdir()
    (tmp_path / "sys/block/vda").symlink_to(top)
    (tmp_path / "proc/self").mkdir(parents=True)
    lines = (
        f"21 1 0:5 / /sys rw - sysfs sysfs rw\n22 1 254:2 / / {options},relatime - ext4 /dev/root {options}\n"
    )
    (tmp_path / "proc/self/mountinfo").write_text(lines)
    (tmp_path / "dev").mkdir()
    return tmp_path / "dev/vda"


def table(disk: Path) -> list[dict[str, object]]:
    done = subprocess.run(["sfdisk", "--json", disk], capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout)["partitiontable"]["partitions"])


def sfdisk(disk: Path, script: str) -> None:
    subprocess.run(["sfdisk", "-q", disk], input=script, text=True, check=True)


GPT = "label: gpt\nstart=2048,size=2MiB,name=esp\nstart=8192,size=20MiB,name=root\n"


def growing(tmp_path: Path) -> None:
    need("sfdisk", "dash")
    note(tmp_path, "partx", "resize2fs")
    (tmp_path / "bin/sfdisk").symlink_to("/usr/sbin/sfdisk")
    assert shell(tmp_path, "find_root; grow_root") == ""


@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_the_root_grows_to_the_end_of_its_disk(tmp_path: Path, label: str) -> None:
    disk = root_on(tmp_path, 100 * MIB)
    with disk.open("wb") as file:
        file.truncate(32 << 20)
    script = GPT if label == "gpt" else "label: dos\nstart=2048,size=2MiB\nstart=8192,size=20MiB\n"
    sfdisk(disk, script)
    before = table(disk)
    with disk.open("r+b") as file:
        file.truncate(100 << 20)
    growing(tmp_path)
    after = table(disk)
    assert after[0] == before[0]
    assert after[1] == {**before[1], "size": 95 * MIB}
    assert log(tmp_path) == ["partx --update --nr 2 /dev/vda", "resize2fs /dev/vda2"]


def test_a_root_that_fills_its_disk(tmp_path: Path) -> None:
    root_on(tmp_path, 26 * MIB)
    growing(tmp_path)
    assert log(tmp_path) == []


def test_a_root_before_other_partitions(tmp_path: Path) -> None:
    root_on(tmp_path, 100 * MIB)
    attributes(tmp_path / "sys/devices/virtio0/block/vda/vda3", start=30 * MIB, size=MIB, partition=3)
    growing(tmp_path)
    assert log(tmp_path) == []


def test_a_root_on_a_whole_disk(tmp_path: Path) -> None:
    root_on(tmp_path, 100 * MIB)
    (tmp_path / "sys/dev/block/254:2").unlink()
    (tmp_path / "sys/dev/block/254:2").symlink_to(tmp_path / "sys/devices/virtio0/block/vda")
    growing(tmp_path)
    assert log(tmp_path) == []


@pytest.mark.parametrize(("options", "calls"), [("ro", ["mount -o remount,rw /"]), ("rw", [])])
def test_the_root_can_be_written(tmp_path: Path, options: str, calls: list[str]) -> None:
    root_on(tmp_path, 100 * MIB, options=options)
    note(tmp_path, "mount")
    shell(tmp_path, "mkdir() { exit; }\nfind_root\nmount_file_systems")
    assert log(tmp_path) == calls


def test_a_state_that_needs_repair(tmp_path: Path) -> None:
    fake(tmp_path, "mount", f'echo mount "$@" >>{tmp_path}/log; [ -e {tmp_path}/repaired ]')
    fake(tmp_path, "e2fsck", f'echo e2fsck "$@" >>{tmp_path}/log; touch {tmp_path}/repaired')
    said = shell(tmp_path, f"mount_or_repair {tmp_path}/dev/vda2 /state && echo mounted")
    assert said.splitlines()[-1] == "mounted"
    mount = "mount -t ext4 -o nodev /dev/vda2 /state"
    assert log(tmp_path) == [mount, "e2fsck -p /dev/vda2", mount]


def test_the_partition_of_the_state_is_that_of_the_same_disk(tmp_path: Path) -> None:
    root_on(tmp_path, 100 * MIB)
    for name in ("vda1", "sda1"):
        attributes(tmp_path / "sys/class/block" / name, uevent="PARTNAME=persistent-state")
    assert shell(tmp_path, "find_root; find_partition persistent-state").strip() == f"{tmp_path}/dev/vda1"
    assert shell(tmp_path, "find_root; find_partition persistent").strip() == ""


@pytest.mark.parametrize(("disks", "others"), [((), False), (("loop0", "zram0"), False), (("sr0",), True)])
def test_seeds_are_looked_for_on_other_disks(tmp_path: Path, disks: tuple[str, ...], others: bool) -> None:
    root_on(tmp_path, 100 * MIB)
    for name in disks:
        (tmp_path / "sys/block" / name).mkdir()
    assert (shell(tmp_path, "find_root; has_other_disks && echo yes") == "yes\n") is others


def test_a_seed_that_looks_like_a_disk_with_partitions(tmp_path: Path) -> None:
    (tmp_path / "sys/devices/vdb/vdb1").mkdir(parents=True)
    (tmp_path / "sys/class/block").mkdir(parents=True)
    (tmp_path / "sys/class/block/vdb1").symlink_to(tmp_path / "sys/devices/vdb/vdb1")
    fake(tmp_path, "mount", f'echo "$2 $5" >>{tmp_path}/log; [ "$2 $5" = "vfat {tmp_path}/dev/vdb" ]')
    assert shell(tmp_path, f"open_seed {tmp_path}/dev/vdb1 && echo open") == "open\n"
    partition = [f"{kind} /dev/vdb1" for kind in ("vfat", "iso9660", "ext4")]
    assert log(tmp_path) == [*partition, "vfat /dev/vdb"]


def test_one_process_mounts_what_is_not_mounted(tmp_path: Path) -> None:
    root_on(tmp_path, 100 * MIB)
    for place in ("dev/pts", "dev/shm", "sys/fs/cgroup", "kit/dev"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
    info = tmp_path / "proc/self/mountinfo"
    info.write_text(
        f"{info.read_text()}23 1 0:9 / {tmp_path}/dev/shm rw - tmpfs tmpfs rw\n24 1 0:9 / /run rw - tmpfs t rw\n"
    )
    fake(tmp_path, "mount", f'echo mount "$@" >>{tmp_path}/log; cat >>{tmp_path}/log')
    note(tmp_path, "cp")
    shell(tmp_path, "is_empty() { return 1; }\nmkdir() { :; }\nfind_root\nmount_file_systems")
    assert log(tmp_path)[:3] == [
        "mount -a -T /proc/self/fd/0",
        "devpts /dev/pts devpts nosuid,noexec,gid=5,mode=620,ptmxmode=666 0 0",
        "cgroup2 /sys/fs/cgroup cgroup2 nosuid,nodev,noexec 0 0",
    ]
    assert log(tmp_path)[-1] == "cp -af /dev/. /dev/"


def test_drivers_of_what_has_none(tmp_path: Path) -> None:
    """Network cards come first, and then all others."""
    pci = tmp_path / "sys/bus/pci/devices"
    attributes(pci / "a", modalias="pci:card", **{"class": "0x020000"})
    attributes(pci / "b", modalias="pci:other", **{"class": "0x030000"})
    attributes(pci / "c", modalias="pci:driven", **{"class": "0x020000"})
    (pci / "c/driver").touch()
    note(tmp_path, "modprobe")
    devices = f"{tmp_path}/sys/bus/*/devices/*"
    shell(tmp_path, f"load_network_drivers; (cd / && load_drivers {devices})")
    assert log(tmp_path) == ["modprobe -a -b -q pci:card", "modprobe -a -b -q pci:card pci:other"]


@pytest.mark.parametrize(
    ("line", "dhcp", "servers"),
    [
        ("time.example,2001:db8::1", "192.0.2.1", ["server time.example", "server 2001:db8::1"]),
        ("", "192.0.2.1\n192.0.2.2", ["server 192.0.2.1", "server 192.0.2.2"]),
        ("a;b,$(id),-x", "192.0.2.1", []),
    ],
)
def test_servers_of_the_time(tmp_path: Path, line: str, dhcp: str, servers: list[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/ntp-servers").write_text(f"{dhcp}\n")
    assert shell(tmp_path, f"time_servers='{line}'; time_configuration").splitlines() == servers


def test_nobody_is_asked_for_the_time_unless_named(tmp_path: Path) -> None:
    note(tmp_path, "ntpd", "unshare")
    shell(tmp_path, "time_servers=; start_time")
    assert log(tmp_path) == []
    note(tmp_path, "mkdir")
    said = shell(tmp_path, "time_servers=192.0.2.1; start_time; wait")
    assert "unshare -m" in " ".join(log(tmp_path)), said

"""The /init that finds a root, by all shells that may run it, on a made /sys and /dev: what it reads of a disk, and
what it does with that."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

import pytest

from dibo.system import resources
from tests.support.host.namespaces import apart
from tests.support.programs import fake
from tests.support.requirements import need

pytestmark = pytest.mark.slow

INIT = resources.shared("converters") / "initramfs" / "find-root" / "init"
SHELLS = ("dash", "busybox sh", "bash --posix")
GUID = uuid.UUID("1a2b3c4d-5e6f-0718-a9ba-cbdcedfe0f10")
OTHER = uuid.UUID("1a2b3c4d-5e6f-0718-a9ba-cbdcedfe0f11")


@pytest.fixture(params=SHELLS)
def sh(request: pytest.FixtureRequest) -> str:
    program = str(request.param)
    need(program.split()[0])
    return program


def run(tmp_path: Path, sh: str, text: str) -> str:
    """What `text` prints, with the functions of /init. Fakes in `bin` come before other programs, but busybox prefers
    its own."""
    (tmp_path / "dev").mkdir(exist_ok=True)
    script = INIT.read_text()
    for path in ("/dev/", "/sys/", "/proc/", "/sysroot"):
        script = script.replace(path, f"{tmp_path}{path}")
    script = script.replace("export PATH=", f"export PATH={tmp_path}/bin:")
    (tmp_path / "script").write_text(f"{script}\n{text}\n")
    return apart([*sh.split(), str(tmp_path / "script")], {"PATH": "/usr/bin:/bin"})


def partition(
    tmp_path: Path, number: int = 2, *, sector: int = 512, uevent: str = "", disk: bytes = b""
) -> str:
    """A partition of vda as the kernel shows it; its name."""
    name = f"vda{number}"
    for directory in (f"sys/class/block/{name}", f"sys/block/vda/{name}", "sys/block/vda/queue", "dev"):
        (tmp_path / directory).mkdir(parents=True, exist_ok=True)
    (tmp_path / "sys/class/block" / name / "partition").write_text(f"{number}\n")
    (tmp_path / "sys/class/block" / name / "uevent").write_text(
        f"DEVTYPE=partition\nPARTN={number}\n{uevent}"
    )
    (tmp_path / "sys/block/vda/queue/logical_block_size").write_text(f"{sector}\n")
    (tmp_path / "dev/vda").write_bytes(disk)
    (tmp_path / "dev" / name).touch()
    return name


def gpt(number: int, *, sector: int = 512) -> bytes:
    data = bytearray(sector * 8)
    data[sector : sector + 8] = b"EFI PART"
    at = 2 * sector + (number - 1) * 128 + 16
    data[at : at + 16] = GUID.bytes_le
    return bytes(data)


def found(tmp_path: Path, sh: str, name: str) -> str:
    return run(tmp_path, sh, f"find_device {name} && echo $device").replace(str(tmp_path), "").strip()


def test_the_script_is_one_for_every_shell(sh: str) -> None:
    subprocess.run([*sh.split(), "-n", str(INIT)], check=True)


@pytest.mark.parametrize(("number", "sector"), [(2, 512), (1, 4096), (11, 512)])
def test_an_identifier_in_a_gpt(tmp_path: Path, sh: str, number: int, sector: int) -> None:
    partition(tmp_path, number, sector=sector, disk=gpt(number, sector=sector))
    assert found(tmp_path, sh, f"PARTUUID={GUID}") == f"/dev/vda{number}"
    assert found(tmp_path, sh, f"PARTUUID={str(GUID).upper()}") == f"/dev/vda{number}"
    assert found(tmp_path, sh, f"PARTUUID={OTHER}") == ""


def test_an_identifier_in_an_mbr(tmp_path: Path, sh: str) -> None:
    data = bytearray(512)
    data[440:444] = bytes.fromhex("78563412")
    partition(tmp_path, 10, disk=bytes(data))
    assert found(tmp_path, sh, "PARTUUID=12345678-0a") == "/dev/vda10"
    assert found(tmp_path, sh, "PARTUUID=12345679-0a") == ""


def test_what_the_kernel_says_is_read_from_no_disk(tmp_path: Path, sh: str) -> None:
    partition(tmp_path, 3, uevent=f"PARTUUID={GUID}\nPARTNAME=a root=1\n", disk=b"")
    assert found(tmp_path, sh, f"PARTUUID={GUID}") == "/dev/vda3"
    assert found(tmp_path, sh, "'PARTLABEL=a root=1'") == "/dev/vda3"
    assert found(tmp_path, sh, "PARTLABEL=other") == ""


def test_a_disk_that_holds_nothing(tmp_path: Path, sh: str) -> None:
    partition(tmp_path, disk=b"")
    for name in (f"PARTUUID={GUID}", f"UUID={GUID}", "LABEL=root"):
        assert found(tmp_path, sh, name) == ""


@pytest.mark.parametrize(
    ("kind", "magic", "uuid_at", "label_at"),
    [
        ("ext4", {1080: b"\x53\xef"}, 1128, 1144),
        ("erofs", {1024: b"\xe2\xe1\xf5\xe0"}, 1072, 1088),
        ("xfs", {0: b"XFSB"}, 32, 108),
        ("btrfs", {65600: b"_BHRfS_M"}, 65568, 65835),
    ],
)
def test_file_systems(
    tmp_path: Path, sh: str, kind: str, magic: dict[int, bytes], uuid_at: int, label_at: int
) -> None:
    name = partition(tmp_path)
    data = bytearray(70000)
    for at, content in {**magic, uuid_at: GUID.bytes, label_at: b"a root"}.items():
        data[at : at + len(content)] = content
    (tmp_path / "dev" / name).write_bytes(data)
    assert run(tmp_path, sh, f"identify {tmp_path}/dev/{name}; echo $kind").strip() == kind
    assert found(tmp_path, sh, f"UUID={GUID}") == "/dev/vda2"
    assert found(tmp_path, sh, "'LABEL=a root'") == "/dev/vda2"
    assert found(tmp_path, sh, "LABEL=a") == ""


def test_a_cd(tmp_path: Path, sh: str) -> None:
    """Only where the root is an image on it: an empty drive takes long to say so."""
    partition(tmp_path)
    (tmp_path / "sys/class/block/sr0").mkdir()
    data = bytearray(40000)
    data[32768 : 32768 + 72] = b"\1CD001\1\0".ljust(40) + b"A_LIVE_SYSTEM".ljust(32)
    (tmp_path / "dev/sr0").write_bytes(data)
    assert run(tmp_path, sh, f"identify {tmp_path}/dev/sr0; echo $kind").strip() == "iso9660"
    assert found(tmp_path, sh, "LABEL=A_LIVE_SYSTEM") == ""
    assert (
        found(tmp_path, sh, "LABEL=A_LIVE_SYSTEM; loop=/root.erofs; find_device LABEL=A_LIVE_SYSTEM")
        == "/dev/sr0"
    )
    assert found(tmp_path, sh, "LABEL=A; loop=/root.erofs; find_device LABEL=A_LIVE") == ""


def test_modules_are_loaded_until_no_new_devices_come(tmp_path: Path) -> None:
    """The driver of a bus brings devices, whose drivers are loaded in turn; those of processors are not."""
    devices = tmp_path / "sys/bus/pci/devices"
    for name, alias in (("a", "pci:v1"), ("b", "cpu:type:x86"), ("c", "pci:v1")):
        (devices / name).mkdir(parents=True)
        (devices / name / "modalias").write_text(f"{alias}\n")
    below = tmp_path / "sys/bus/virtio/devices/d"
    fake(
        tmp_path,
        "modprobe",
        f'echo "$@" >>{tmp_path}/log; mkdir -p {below}; echo virtio:d2 >{below}/modalias',
    )
    run(tmp_path, "dash", "load_modules; load_modules")
    assert (tmp_path / "log").read_text().splitlines() == ["-q -a -b pci:v1", "-q -a -b virtio:d2"]


CALLS = ("mount", "mkdir", "modprobe", "sleep", "switch_root")


def booted(tmp_path: Path, line: str, *files: str, fstab: str = "") -> list[str]:
    """What /init called with this command line of the kernel, on a root with these files."""
    partition(tmp_path, 3, uevent=f"PARTUUID={GUID}\n")
    for name in CALLS:
        fake(tmp_path, name, f'echo {name} "$@" >>{tmp_path}/log')
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cmdline").write_text(f"{line}\n")
    (tmp_path / "proc/uptime").write_text("1.00 1.00\n")
    (tmp_path / "proc/filesystems").write_text("nodev\ttmpfs\n\text4\n")
    for place in ("dev", "proc", "sys", "run"):
        (tmp_path / "sysroot" / place).mkdir(parents=True)
    for file in files:
        path = tmp_path / "sysroot" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
    (tmp_path / "sysroot/etc").mkdir(exist_ok=True)
    (tmp_path / "sysroot/etc/fstab").write_text(fstab)
    output = run(tmp_path, "dash", "main")
    assert "not found" not in output
    log = (tmp_path / "log").read_text().replace(str(tmp_path), "")
    return [
        called for called in log.splitlines() if not called.startswith("mount -t") or "/sysroot" in called
    ]


def test_a_root_and_its_init(tmp_path: Path) -> None:
    called = booted(tmp_path, f"root=PARTUUID={GUID} rootfstype=ext4 ro quiet", "sbin/init")
    assert called == [
        "mount -t ext4 -o ro /dev/vda3 /sysroot",
        "mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs /sysroot/run",
        *(f"mount -o move /{place} /sysroot/{place}" for place in ("dev", "proc", "sys")),
        "switch_root /sysroot /sbin/init",
    ]


def test_a_root_in_a_file_below_an_overlay(tmp_path: Path) -> None:
    line = f"root=PARTUUID={GUID} rootfstype=iso9660 loop=/live/root.erofs overlayroot=tmpfs rw"
    called = booted(tmp_path, line, "sbin/init")
    start = called.index("mount -t iso9660 -o ro /dev/vda3 /sysroot")
    assert called[
        start + 1 : called.index("mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs /sysroot/run")
    ] == [
        "modprobe -q erofs",
        "modprobe -q loop",
        "mkdir /medium",
        "mount -o move /sysroot /medium",
        "mount -t erofs -o ro,loop /medium/live/root.erofs /sysroot",
        "modprobe -q overlay",
        "mkdir /overlay",
        "mkdir /overlay/lower /overlay/upper /overlay/work",
        "mount -o move /sysroot /overlay/lower",
        "mount -t overlay -o lowerdir=/overlay/lower,upperdir=/overlay/upper,workdir=/overlay/work overlay /sysroot",
    ]
    assert called[-1] == "switch_root /sysroot /sbin/init"


def test_an_application_of_a_kit(tmp_path: Path) -> None:
    """It begins with what the image has in /run, so nothing is mounted there."""
    line = f"root=PARTUUID={GUID} rootfstype=xfs rootflags=noatime rw rootdelay=x"
    kit = "/usr/lib/dibo/kit"
    called = booted(tmp_path, line, "usr/lib/dibo/service/run", "sbin/init")
    assert called[:2] == ["modprobe -q xfs", "mount -t xfs -o rw,noatime /dev/vda3 /sysroot"]
    assert called[-1] == f"switch_root /sysroot {kit}/bin/catatonit -- {kit}/bin/sh {kit}/start"
    assert not any("/sysroot/run" in call for call in called)


def test_the_kernel_is_as_it_was_when_the_root_takes_over(tmp_path: Path) -> None:
    file = tmp_path / "sys/kernel/rcu_expedited"
    file.parent.mkdir(parents=True)
    file.write_text("0\n")
    assert run(tmp_path, "dash", f"hurry; cat {file}; calm_down; cat {file}") == "1\n0\n"
    assert booted(tmp_path, f"root=PARTUUID={GUID} rootfstype=ext4", "sbin/init")[-1].startswith(
        "switch_root"
    )
    assert file.read_text() == "0\n"


def test_partitions_of_a_disk_are_read_at_once(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        partition(tmp_path, number, disk=gpt(3))
    fake(tmp_path, "od", f'echo od >>{tmp_path}/log; exec /usr/bin/od "$@"')
    assert run(tmp_path, "dash", f"loop=; find_device PARTUUID={str(GUID).upper()}; echo $device").endswith(
        "/dev/vda3\n"
    )
    assert (tmp_path / "log").read_text() == "od\n"


def test_init_on_the_command_line_comes_first(tmp_path: Path) -> None:
    line = f"root=PARTUUID={GUID} rootfstype=ext4 init=/bin/sh"
    called = booted(tmp_path, line, "usr/lib/dibo/service/run", "bin/sh")
    assert called[-1] == "switch_root /sysroot /bin/sh"


def test_usr_of_its_own(tmp_path: Path) -> None:
    line = f"root=PARTUUID={GUID} rootfstype=ext4"
    fstab = f"# of this disk\nPARTUUID={GUID} /usr ext4 noatime 0 2\n"
    called = booted(tmp_path, line, "sbin/init", fstab=fstab)
    assert called[1] == "mount -t ext4 -o ro,noatime /dev/vda3 /sysroot/usr"

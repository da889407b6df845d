"""From a request to a machine, without one that runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dibo.api.machines.assemble import assembled
from dibo.api.machines.boot import BootOutputs, boot
from dibo.api.machines.request import BootRequest
from dibo.api.settings import current_settings
from dibo.errors import DiskImageError, MachineError, OutputError, UsageError
from dibo.formats.streams.compressed import COMPRESSIONS
from dibo.machines.boards import FirmwareKind
from dibo.machines.machine import VirtualMachine
from dibo.machines.steps import parse_steps
from dibo.settings.settings import Options
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from tests.support.disks.boot_disks import ext4, save
from tests.support.machines.boot_sector import boot_disk
from tests.support.machines.efi_program import large_sector_disk
from tests.support.requirements import need

Assemble = Callable[..., VirtualMachine]


@pytest.fixture
def assemble(tmp_path: Path) -> Assemble:
    def machine(**given: Any) -> VirtualMachine:
        settings = current_settings(
            Options(cache_dir=str(tmp_path / "cache"), architecture="amd64"), {"HOME": str(tmp_path)}
        )
        request = BootRequest(**{"seed": False, "accelerator": "tcg", **given})
        with (
            Workspace(settings.cache).run() as run,
            assembled(settings, request, run, Report()) as parts,
        ):
            return parts.machine

    return machine


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return boot_disk(tmp_path / "web.1.raw", "")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A file system with a kernel, on no partition."""
    return save(tmp_path / "root.raw", ext4())


def test_a_disk(assemble: Assemble, disk: Path) -> None:
    """Named after the image, with a port for SSH; what it writes is thrown away."""
    machine = assemble(image=str(disk))
    assert (machine.name, machine.machine, machine.memory) == ("web", "q35", 1024)
    assert (machine.firmware.kind, machine.kernel) == (FirmwareKind.BIOS, None)
    assert [(entry.path, entry.throw_away) for entry in machine.disks] == [(disk, True)]
    assert [port.guest for port in machine.ports] == [22]
    assert not machine.screen
    assert assemble(image=str(disk), steps=parse_steps([{"screenshot": "a.png"}])).screen
    assert not assemble(image=str(disk), write=True).disks[0].throw_away


@pytest.mark.parametrize("name", ["/sys/a.png", "none/a.png", "."])
def test_pictures_that_cannot_be_written_are_refused_before_a_boot(
    tmp_path: Path, disk: Path, name: str
) -> None:
    settings = current_settings(Options(cache_dir=str(tmp_path / "cache")), {"HOME": str(tmp_path)})
    request = BootRequest(image=str(disk), steps=parse_steps([{"screenshot": name}]))
    with pytest.raises((OutputError, UsageError), match=r"/sys|none|'\.' is not the name") as caught:
        boot(settings, request, Report(), BootOutputs())
    assert "--screenshot" in caught.value.hint


def test_a_seed(assemble: Assemble, disk: Path, tmp_path: Path) -> None:
    """The second disk; root gets the key by another way, too, where no cloud-init is seen."""
    need("ssh-keygen")
    machine = assemble(image=str(disk), seed=True, public_keys=(), ports=("2222:22", "80"))
    assert [entry.serial for entry in machine.disks] == ["root", "seed"]
    assert machine.disks[1].read_only
    assert [name for name, _ in machine.credentials] == ["ssh.authorized_keys.root"]
    assert [(port.here, port.guest) for port in machine.ports] == [(2222, 22), (0, 80)]
    assert assemble(image=str(disk), seed=True, public_keys=(), user="admin").credentials == ()


def test_a_file_system_is_booted_by_its_kernel(assemble: Assemble, bare: Path, disk: Path) -> None:
    machine = assemble(image=str(bare), append="quiet")
    assert machine.firmware.kind is FirmwareKind.NONE
    assert machine.kernel is not None
    assert machine.kernel.arguments.endswith(" console=ttyS0 quiet")
    assert assemble(image=str(bare), machine="microvm").machine == "microvm"
    with pytest.raises(DiskImageError, match="no kernel"):
        assemble(image=str(disk), firmware="none")


def test_a_kernel_alone(assemble: Assemble, tmp_path: Path) -> None:
    """A large initramfs has the memory that it needs."""
    kernel, initrd = tmp_path / "vmlinuz", tmp_path / "initrd"
    kernel.write_bytes(b"kernel")
    with initrd.open("wb") as file:
        file.truncate(300 << 20)
    machine = assemble(kernel=kernel, initrd=initrd, append="quiet")
    assert machine.kernel is not None
    assert machine.kernel.arguments == "console=ttyS0 quiet"
    assert (machine.name, machine.memory, machine.disks) == ("vmlinuz", 2012, ())


def test_what_cannot_be_written_to(assemble: Assemble, disk: Path, tmp_path: Path) -> None:
    packed = tmp_path / "web.gz"
    with disk.open("rb") as source, packed.open("wb") as target:
        COMPRESSIONS["gz"](source, target)
    assert assemble(image=str(packed)).disks[0].path != packed
    with pytest.raises(UsageError, match="cannot be written to"):
        assemble(image=str(packed), write=True)
    if os.geteuid() != 0:
        disk.chmod(0o444)
        with pytest.raises(DiskImageError, match="cannot write to"):
            assemble(image=str(disk), write=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nothing to boot"),
        ({"image": "no-such-file"}, "no-such-file"),
        ({"kernel": Path("/no/kernel")}, "there is no file /no/kernel"),
        ({"initrd": Path("/no/initrd"), "image": "x"}, "only with --kernel"),
        ({"image": "x", "firmware": "coreboot"}, "--firmware expects one of auto, bios"),
        ({"image": "x", "network": "none", "ports": ("80",)}, "on a network"),
        ({"image": "x", "ports": ("http",)}, "no port to forward"),
    ],
)
def test_requests_that_are_refused(assemble: Assemble, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        assemble(**given)


def test_words_that_do_not_fit_the_disk(assemble: Assemble, disk: Path) -> None:
    for given, message in (
        ({"name": "a b"}, "no name of a machine"),
        ({"append": "quiet"}, "--append"),
        ({"machine": "virt"}, "no machine for amd64"),
        ({"user": "me"}, "only with a seed"),
        ({"machine": "microvm", "firmware": "bios"}, "does not load a kernel"),
    ):
        with pytest.raises(UsageError, match=message):
            assemble(image=str(disk), **given)
    with pytest.raises(MachineError, match="u-boot is no firmware"):
        assemble(image=str(disk), firmware="u-boot")


def test_sectors_are_those_of_the_image(assemble: Assemble, disk: Path, tmp_path: Path) -> None:
    large_sector_disk(tmp_path / "large.raw", "up")
    assert assemble(image=str(tmp_path / "large.raw"), firmware="bios").disks[0].sector == 4096
    assert assemble(image=str(disk)).disks[0].sector == 512


def test_only_a_disk_that_is_kept_is_flushed(assemble: Assemble, disk: Path, tmp_path: Path) -> None:
    """One that is unpacked for this boot is written to, and gone afterwards."""
    with disk.open("rb") as source, (tmp_path / "packed").open("wb") as target:
        COMPRESSIONS["gz"](source, target)
    unpacked = assemble(image=str(tmp_path / "packed")).disks[0]
    assert (unpacked.throw_away, unpacked.is_flushed) == (False, False)
    written = assemble(image=str(disk), write=True).disks[0]
    assert (written.throw_away, written.is_flushed) == (False, True)


def test_a_larger_disk(assemble: Assemble, disk: Path, tmp_path: Path) -> None:
    """For this boot; the image stays, and nothing shrinks."""
    assert assemble(image=str(disk), size="1.5").disks[0].grow_to == 3 << 29
    assert assemble(image=str(disk)).disks[0].grow_to is None
    with pytest.raises(UsageError, match="--write keeps"):
        assemble(image=str(disk), size="4", write=True)
    large = tmp_path / "large.raw"
    large.write_bytes(disk.read_bytes())
    os.truncate(large, 3 << 30)
    with pytest.raises(UsageError, match="cannot shrink"):
        assemble(image=str(large), size="2")
    (tmp_path / "vmlinuz").write_bytes(b"kernel")
    with pytest.raises(UsageError, match="needs a disk"):
        assemble(kernel=tmp_path / "vmlinuz", size="4")


@pytest.mark.parametrize("packed", [False, True])
def test_a_ramdisk_starts_with_the_kernel_beside_it(assemble: Assemble, tmp_path: Path, packed: bool) -> None:
    ramdisk = tmp_path / "deploy.ramdisk"
    ramdisk.write_bytes(b"070701" + bytes(600))
    if packed:
        with ramdisk.open("rb") as source, (tmp_path / "packed").open("wb") as target:
            COMPRESSIONS["zst"](source, target)
        (tmp_path / "packed").replace(ramdisk)
    with pytest.raises(DiskImageError, match=r"not beside it as deploy\.kernel"):
        assemble(image=str(ramdisk))
    (tmp_path / "deploy.kernel").write_bytes(b"kernel")
    machine = assemble(image=str(ramdisk))
    assert machine.kernel is not None
    assert (machine.kernel.kernel.name, machine.kernel.initrd) == ("deploy.kernel", ramdisk)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"MZ" + bytes(3000), "program for UEFI"),
        (b"\x7fELF" + bytes(3000), "is a program"),
        (b"hsqs" + bytes(3000), "squashfs"),
        (b"text", "no partition table and no kernel"),
    ],
)
def test_what_no_machine_starts_from(
    assemble: Assemble, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(DiskImageError, match=message):
        assemble(image=str(path))

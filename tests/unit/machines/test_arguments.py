"""QEMU's arguments, for every architecture and firmware; the value alone decides."""

from __future__ import annotations

import base64
import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from dibo.machines.arguments import qemu_arguments
from dibo.machines.boards import BOARDS, FirmwareKind, board_of
from dibo.machines.machine import (
    DirectKernel,
    FirmwareFiles,
    MachineDisk,
    QemuExtras,
    VirtualMachine,
    parse_port,
)

MONITOR = 6
DISK = MachineDisk(path=Path("/a,b/disk"), format="qcow2", serial="root")


def machine(architecture: str = "amd64", kind: FirmwareKind = FirmwareKind.BIOS) -> VirtualMachine:
    board = board_of(architecture)
    return VirtualMachine(
        name="web",
        board=board,
        machine=board.machines[0],
        accelerator="tcg,thread=single",
        processors=1,
        memory=512,
        firmware=FirmwareFiles(kind=kind),
        disks=(DISK,),
    )


def values(argv: list[str], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(argv) if name == option]


@pytest.mark.parametrize(
    ("architecture", "program", "board", "processor", "disk"),
    [
        ("amd64", "qemu-system-x86_64", "q35,graphics=off,smm=off", "max", "virtio-blk-pci"),
        ("i386", "qemu-system-x86_64", "q35,graphics=off,smm=off", "max", "virtio-blk-pci"),
        ("arm64", "qemu-system-aarch64", "virt", "max,pauth-impdef=on", "virtio-blk-pci"),
        ("armhf", "qemu-system-arm", "virt,highmem=off", "max", "virtio-blk-pci"),
        ("riscv64", "qemu-system-riscv64", "virt", "rv64", "virtio-blk-pci"),
        ("ppc64el", "qemu-system-ppc64", "pseries", "power9", "virtio-blk-pci"),
        ("s390x", "qemu-system-s390x", "s390-ccw-virtio", "max", "virtio-blk-ccw"),
    ],
)
def test_each_architecture(architecture: str, program: str, board: str, processor: str, disk: str) -> None:
    argv = qemu_arguments(machine(architecture), monitor=MONITOR)
    assert argv[0] == program
    assert values(argv, "-machine") == [board]
    assert values(argv, "-cpu") == [processor]
    assert f"{disk},drive=disk0,serial=root,bootindex=1" in values(argv, "-device")
    assert {"stdio,id=console,signal=off", "socket,id=monitor,fd=6"} == set(values(argv, "-chardev"))
    assert set(BOARDS) >= {architecture}


def test_kvm_has_the_processor_of_this_machine() -> None:
    argv = qemu_arguments(replace(machine(), accelerator="kvm"), monitor=MONITOR)
    assert (values(argv, "-accel"), values(argv, "-cpu")) == (["kvm"], ["host"])


def test_changes_are_thrown_away_unless_they_are_kept() -> None:
    """A comma in a path is written twice."""
    value = machine()
    (drive,) = values(qemu_arguments(value, monitor=MONITOR), "-drive")
    assert "snapshot=on" in drive.split(",")
    assert "/a,,b/disk" in drive
    kept = replace(value, disks=(replace(DISK, throw_away=False),))
    (drive,) = values(qemu_arguments(kept, monitor=MONITOR), "-drive")
    assert "snapshot=on" not in drive
    seed = replace(value, disks=(replace(DISK, read_only=True),))
    (drive,) = values(qemu_arguments(seed, monitor=MONITOR), "-drive")
    assert "readonly=on" in drive.split(",")


def test_how_much_a_disk_is_flushed() -> None:
    """Not at all if nothing of it is kept."""
    for disk, is_unsafe in (
        (DISK, True),
        (replace(DISK, throw_away=False), False),
        (replace(DISK, throw_away=False, is_flushed=False), True),
        (replace(DISK, read_only=True), False),
    ):
        (drive,) = values(qemu_arguments(replace(machine(), disks=(disk,)), monitor=MONITOR), "-drive")
        assert ("cache=unsafe" in drive.split(",")) is is_unsafe


def test_a_disk_that_firmware_leaves_alone() -> None:
    other = replace(DISK, serial="other", is_started=False, sector=4096)
    devices = values(qemu_arguments(replace(machine(), disks=(other, DISK)), monitor=MONITOR), "-device")
    assert devices[:2] == [
        "virtio-blk-pci,drive=disk0,serial=other,logical_block_size=4096,physical_block_size=4096",
        "virtio-blk-pci,drive=disk1,serial=root,bootindex=2",
    ]


def test_what_the_description_has_no_words_for() -> None:
    """Without it, QEMU starts no programs."""
    extras = QemuExtras(
        arguments=("-device", "qemu-xhci"), network="tftp=/boot,bootfile=x", starts_programs=True
    )
    value = replace(machine(), extras=extras, starts_from_network=True, network="isolated")
    argv = qemu_arguments(value, monitor=MONITOR)
    assert argv[-2:] == ["-device", "qemu-xhci"]
    assert values(argv, "-netdev") == ["user,id=net,restrict=on,tftp=/boot,bootfile=x"]
    assert "virtio-net-pci,netdev=net,mac=52:54:00:12:34:56,bootindex=0" in values(argv, "-device")
    assert "elevateprivileges=allow,spawn=allow" in values(argv, "-sandbox")[0]
    assert (
        "elevateprivileges=deny,spawn=deny"
        in values(qemu_arguments(machine(), monitor=MONITOR), "-sandbox")[0]
    )


def test_secure_boot_is_checked_in_system_management_mode() -> None:
    files = FirmwareFiles(
        kind=FirmwareKind.SECURE_BOOT,
        device="flash",
        code=Path("/code"),
        variables=Path("/own/variables"),
        needs_smm=True,
    )
    argv = qemu_arguments(replace(machine(), firmware=files), monitor=MONITOR)
    assert values(argv, "-machine") == ["q35,graphics=off,smm=on"]
    assert values(argv, "-drive")[:2] == [
        "if=pflash,unit=0,format=raw,readonly=on,file=/code",
        "if=pflash,unit=1,format=raw,file=/own/variables",
    ]
    assert "driver=cfi.pflash01,property=secure,value=on" in values(argv, "-global")


def test_firmware_that_is_loaded_like_a_kernel() -> None:
    for device, option in (("kernel", "-kernel"), ("memory", "-bios")):
        files = FirmwareFiles(kind=FirmwareKind.UBOOT, device=device, code=Path("/u-boot"))
        argv = qemu_arguments(replace(machine("riscv64"), firmware=files), monitor=MONITOR)
        assert values(argv, option) == ["/u-boot"]


def test_a_kernel_from_outside() -> None:
    """The disk is none to boot from; microvm connects devices by virtio-mmio."""
    kernel = DirectKernel(kernel=Path("/k"), initrd=Path("/i"), arguments="console=ttyS0 root=/dev/vda")
    value = replace(
        machine(kind=FirmwareKind.NONE), machine="microvm", kernel=kernel, ports=(parse_port("80"),)
    )
    argv = qemu_arguments(value, monitor=MONITOR)
    assert (values(argv, "-kernel"), values(argv, "-initrd")) == (["/k"], ["/i"])
    assert values(argv, "-append") == ["console=ttyS0 root=/dev/vda"]
    assert values(argv, "-machine") == ["microvm,rtc=on"]
    devices = values(argv, "-device")
    assert "virtio-blk-device,drive=disk0,serial=root" in devices
    assert "virtio-net-device,netdev=net,mac=52:54:00:12:34:56" in devices


def test_networks() -> None:
    ports = (parse_port("8080:80"), parse_port("0.0.0.0:53:5353/udp"))
    value = replace(machine(), ports=ports)
    assert values(qemu_arguments(value, monitor=MONITOR), "-netdev") == [
        "user,id=net,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp:0.0.0.0:53-:5353"
    ]
    isolated = qemu_arguments(replace(value, network="isolated"), monitor=MONITOR)
    assert values(isolated, "-netdev")[0].startswith("user,id=net,restrict=on,")
    assert values(qemu_arguments(replace(value, network="none"), monitor=MONITOR), "-netdev") == []


def test_a_screen_is_there_if_it_is_looked_at() -> None:
    assert "VGA" not in qemu_arguments(machine(), monitor=MONITOR)
    seen = qemu_arguments(replace(machine(), screen=True), monitor=MONITOR)
    assert "VGA" in values(seen, "-device")
    assert values(seen, "-machine") == ["q35,graphics=on,smm=off"]
    assert "virtio-gpu-pci" in qemu_arguments(replace(machine("arm64"), screen=True), monitor=MONITOR)


def test_credentials_where_there_is_smbios() -> None:
    value = replace(machine(), credentials=(("ssh.authorized_keys.root", "ssh-ed25519 AAAA\n"),))
    (text,) = values(qemu_arguments(value, monitor=MONITOR), "-smbios")
    prefix = "type=11,value=io.systemd.credential.binary:ssh.authorized_keys.root="
    assert base64.b64decode(text.removeprefix(prefix)) == b"ssh-ed25519 AAAA\n"
    assert "-smbios" not in qemu_arguments(replace(value, machine="microvm"), monitor=MONITOR)

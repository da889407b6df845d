"""What QEMU emulates for each architecture: program, machine, processor, and how devices are connected.

    bus of devices    pci      q35, pc, virt, pseries: virtio-blk-pci
                      device   microvm: virtio-mmio, virtio-blk-device
                      ccw      s390-ccw-virtio: virtio-blk-ccw

QEMU, docs/system/target-*.rst. Names of architectures are Debian's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from dibo.errors import UsageError


class FirmwareKind(Enum):
    """What a machine starts with."""

    BIOS = "bios"
    UEFI = "uefi"
    SECURE_BOOT = "secure-boot"
    """UEFI that starts only what keys vouch for which are enrolled in it."""
    UBOOT = "u-boot"
    BUILT_IN = "built-in"
    """What QEMU brings for machines that have only one: SLOF, the loader of s390x."""
    NONE = "none"
    """QEMU loads a kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """How an architecture is emulated. Machines and processors are in QEMU's words."""

    architecture: str
    qemu_name: str
    """QEMU's word for the architecture, which firmware descriptors use."""
    program: str
    machines: tuple[str, ...]
    """The first is the default."""
    processor: str
    """Without KVM; with it, always `host`."""
    firmware: tuple[FirmwareKind, ...]
    """In the order in which they are preferred."""
    console: str
    """The kernel's word for the serial port."""
    hosts: tuple[str, ...] = ()
    """Machines, in the words of uname(2), whose KVM runs it."""
    bus: str = "pci"


_X86: Final = (FirmwareKind.BIOS, FirmwareKind.UEFI, FirmwareKind.SECURE_BOOT)
_ARM: Final = (FirmwareKind.UEFI, FirmwareKind.UBOOT, FirmwareKind.SECURE_BOOT)

BOARDS: Final = {
    board.architecture: board
    for board in (
        Board(
            architecture="amd64",
            qemu_name="x86_64",
            program="qemu-system-x86_64",
            machines=("q35", "pc", "microvm"),
            processor="max",
            firmware=_X86,
            console="ttyS0",
            hosts=("x86_64",),
        ),
        Board(
            architecture="i386",
            qemu_name="i386",
            program="qemu-system-x86_64",  # which has the long mode that a boot loader for both may look for
            machines=("q35", "pc", "microvm"),
            processor="max",
            firmware=(FirmwareKind.BIOS, FirmwareKind.UEFI),
            console="ttyS0",
            hosts=("x86_64", "i686"),
        ),
        Board(
            architecture="arm64",
            qemu_name="aarch64",
            program="qemu-system-aarch64",
            machines=("virt",),
            # Pointer authentication by QEMU's own, faster algorithm (docs/system/arm/cpu-features.rst).
            processor="max,pauth-impdef=on",
            firmware=_ARM,
            console="ttyAMA0",
            hosts=("aarch64",),
        ),
        Board(
            architecture="armhf",
            qemu_name="arm",
            program="qemu-system-arm",
            machines=("virt",),
            processor="max",
            firmware=_ARM[:2],
            console="ttyAMA0",
        ),
        Board(
            architecture="riscv64",
            qemu_name="riscv64",
            program="qemu-system-riscv64",
            machines=("virt",),
            processor="rv64",  # QEMU knows `max` only from 8.2 on
            firmware=(FirmwareKind.UBOOT, FirmwareKind.UEFI),
            console="ttyS0",
            hosts=("riscv64",),
        ),
        Board(
            architecture="ppc64el",
            qemu_name="ppc64",
            program="qemu-system-ppc64",
            machines=("pseries",),
            processor="power9",
            firmware=(FirmwareKind.BUILT_IN,),
            console="hvc0",
            hosts=("ppc64le",),
        ),
        Board(
            architecture="s390x",
            qemu_name="s390x",
            program="qemu-system-s390x",
            machines=("s390-ccw-virtio",),
            processor="max",
            firmware=(FirmwareKind.BUILT_IN,),
            console="ttysclp0",
            hosts=("s390x",),
            bus="ccw",
        ),
    )
}
"""By architecture."""

_ARCHITECTURES: Final = {name: board.architecture for board in BOARDS.values() for name in board.hosts}


def board_of(architecture: str) -> Board:
    """Raises UsageError for an architecture that is not in the table."""
    board = BOARDS.get(architecture.partition("/")[0])
    if board is None:
        raise UsageError(
            f"no virtual machine is known for the architecture {architecture!r}",
            hint=f"one of {', '.join(BOARDS)}",
        )
    return board


def host_architecture(machine: str) -> str:
    """Debian's word for a machine in those of uname(2); amd64 where there is none."""
    return {"i686": "i386", "armv7l": "armhf", **_ARCHITECTURES}.get(machine, "amd64")

"""A virtual machine as a value, complete: nothing of it is looked up any more when it starts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.errors import UsageError
from dibo.machines.boards import Board, FirmwareKind
from dibo.units import SECTOR

MAC: Final = "52:54:00:12:34:56"
"""Of the first interface; QEMU's own choice."""
LOOPBACK: Final = "127.0.0.1"
NETWORKS: Final = ("user", "isolated", "none")
"""`user`: out by way of this machine's network; `isolated`: only what is forwarded; `none`: no interface."""
_PORT: Final = re.compile(
    r"(?:(?:(?P<address>[0-9]{1,3}(?:\.[0-9]{1,3}){3}):)?(?P<here>[0-9]{1,5}):)?(?P<guest>[0-9]{1,5})"
    r"(?:/(?P<protocol>tcp|udp))?"
)
_LARGEST_PORT: Final = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineDisk:
    """A disk image that a machine has. `format` is in QEMU's words; `serial` is what the guest sees."""

    path: Path
    format: str
    serial: str
    read_only: bool = False
    throw_away: bool = True
    """Whether what is written goes to a nameless file, and the image stays as it is."""
    grow_to: int | None = None
    """Bytes that the disk has for the guest, at least as many as the image's."""
    sector: int = SECTOR
    """Bytes of a logical sector, as the guest sees them."""
    is_flushed: bool = True
    """Whether what the guest has flushed is on the disk if this machine crashes; else writing is faster."""
    is_started: bool = True
    """Whether the firmware looks for a boot loader here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareFiles:
    """Files of a firmware: `code`, and for flash memory `variables`, which the machine writes to."""

    kind: FirmwareKind
    device: str = "memory"
    """`flash`, `memory` (-bios) or `kernel` (-kernel), as firmware descriptors say."""
    code: Path | None = None
    code_format: str = "raw"
    variables: Path | None = None
    variables_format: str = "raw"
    needs_smm: bool = False
    """Whether only code in system management mode may write variables (EDK II, OvmfPkg/README)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectKernel:
    """A kernel that QEMU loads itself."""

    kernel: Path
    initrd: Path | None
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PortForward:
    """A port of the guest that is reached at a port here; `here` is 0 for a free one."""

    guest: int
    here: int = 0
    address: str = LOOPBACK
    protocol: str = "tcp"

    def __str__(self) -> str:
        return f"{self.address}:{self.here}:{self.guest}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuExtras:
    """What a machine has that its description has no words for, in QEMU's."""

    arguments: tuple[str, ...] = ()
    descriptors: tuple[int, ...] = ()
    """File descriptors, open here, that the arguments name."""
    network: str = ""
    """Properties of the user network, with commas between them: tftp=DIRECTORY,bootfile=NAME."""
    starts_programs: bool = False
    """Whether QEMU may start programs, as the property `guestfwd=…-cmd:` makes it do."""


NO_EXTRAS: Final = QemuExtras()


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualMachine:
    """`machine` is one of the board's; `memory` is in MiB; `identity` a UUID."""

    name: str
    board: Board
    machine: str
    accelerator: str
    """QEMU's word, perhaps with properties: tcg,thread=single."""
    processors: int
    memory: int
    firmware: FirmwareFiles
    kernel: DirectKernel | None = None
    disks: tuple[MachineDisk, ...] = ()
    ports: tuple[PortForward, ...] = ()
    network: str = NETWORKS[0]
    starts_from_network: bool = False
    """Whether the firmware tries the network before the disks."""
    screen: bool = False
    """Whether there is a graphics card, for a picture of the screen."""
    credentials: tuple[tuple[str, str], ...] = ()
    """Names and values for systemd (systemd.system-credentials(7))."""
    extras: QemuExtras = NO_EXTRAS

    @property
    def bus(self) -> str:
        """How the names of virtio devices end."""
        return "device" if self.machine == "microvm" else self.board.bus


def parse_port(text: str) -> PortForward:
    """`[[ADDRESS:]HERE:]GUEST[/udp]`, as docker's -p has it, but on the loopback interface if no address is given.
    Raises UsageError."""
    match = _PORT.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} is no port to forward", hint="such as 8080:80, 0.0.0.0:8080:80, 80 or 5353:53/udp"
        )
    guest, here = int(match["guest"]), int(match["here"] or 0)
    if not 0 < guest <= _LARGEST_PORT or here > _LARGEST_PORT:
        raise UsageError(f"{text!r}: ports are numbers from 1 to {_LARGEST_PORT}")
    return PortForward(
        guest=guest, here=here, address=match["address"] or LOOPBACK, protocol=match["protocol"] or "tcp"
    )

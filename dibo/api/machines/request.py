"""What `dibo boot` is asked for, as a value that a file can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.api.values import MachineOptions, StrPath
from dibo.errors import UsageError
from dibo.kits.choose import KitRequest
from dibo.machines.accelerator import ACCELERATORS, AUTO
from dibo.machines.boards import BOARDS, FirmwareKind
from dibo.machines.machine import NETWORKS, parse_port
from dibo.machines.steps import BootStep, parse_steps
from dibo.units import parse_gib

FIRMWARE: Final = (AUTO, *(kind.value for kind in FirmwareKind))
MACHINES: Final = tuple(dict.fromkeys(name for board in BOARDS.values() for name in board.machines))
MEMORY: Final = 1024
STEP_SECONDS: Final = 600.0
"""That all steps may take, if nothing else is asked for. Without KVM, a distribution boots in one or two minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootRequest:
    """`image` is the path of a disk image or of a directory with a kernel, or a reference to a container image; it may
    be None if there is a kernel. Words and numbers are those of the options of `dibo boot`."""

    image: str | None = None
    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    architecture: str | None = None
    """None for what the image is for."""
    firmware: str = AUTO
    machine: str | None = None
    accelerator: str = AUTO
    processors: int | None = None
    memory: int | None = None
    """MiB."""
    ports: tuple[str, ...] = ()
    network: str = NETWORKS[0]
    size: str | None = None
    """GiB of the disk in this boot, fractions allowed; None for that of the image."""
    write: bool = False
    """Whether the machine's changes go to the image."""
    name: str | None = None
    seed: bool = True
    """Whether the machine is told who may log in."""
    user: str | None = None
    password: str = ""
    public_keys: tuple[Path, ...] | None = None
    """Files, None for those of the user."""
    steps: tuple[BootStep, ...] = ()
    timeout: float | None = None
    """Seconds; None for STEP_SECONDS, or without steps for no end."""
    console: Path | None = None
    """A file that is given all that the console shows."""
    kit: KitRequest = KitRequest()  # noqa: RUF009  frozen

    def check(self) -> None:
        """Raises UsageError."""
        for option, value, words in (
            ("firmware", self.firmware, FIRMWARE),
            ("accel", self.accelerator, ACCELERATORS),
            ("network", self.network, NETWORKS),
            ("machine", self.machine or MACHINES[0], MACHINES),
        ):
            if value not in words:
                raise UsageError(f"--{option} expects one of {', '.join(words)}; got {value!r}")
        for port in self.ports:
            parse_port(port)
        if self.size is not None:
            parse_gib(self.size, name="--size")
            if self.write:
                raise UsageError(
                    "--size grows the disk for one boot, and --write keeps its changes",
                    hint="grow the image itself first: qemu-img resize FILE SIZE",
                )
        self._check_kernel()

    def _check_kernel(self) -> None:
        if self.image is None and self.kernel is None:
            raise UsageError("nothing to boot", hint="name an image, or a kernel with --kernel")
        if self.kernel is None and self.initrd is not None:
            raise UsageError("--initrd works only with --kernel")
        for path in (self.kernel, self.initrd):
            if path is not None and not path.is_file():
                raise UsageError(f"there is no file {path}")
        if self.ports and self.network == "none":
            raise UsageError("ports are forwarded on a network", hint="leave out --network none")


def request_of(image: str | None, steps: Sequence[Mapping[str, str]], options: MachineOptions) -> BootRequest:
    """The request of a caller of the library, whose options are of the right types. Raises UsageError."""
    return BootRequest(
        image=image,
        kernel=_path(options.kernel),
        initrd=_path(options.initrd),
        append=options.append,
        architecture=options.architecture,
        firmware=options.firmware,
        machine=options.machine,
        accelerator=options.accel,
        processors=options.cpus,
        memory=options.memory,
        ports=options.ports,
        network=options.network,
        size=None if options.size is None else f"{options.size:g}",
        write=options.write,
        name=options.name,
        seed=options.seed,
        user=options.user,
        public_keys=tuple(map(Path, options.ssh_keys)),
        steps=parse_steps(steps),
        timeout=options.timeout,
        console=_path(options.console),
        kit=KitRequest(reference=options.kit),
    )


def _path(path: StrPath | None) -> Path | None:
    return None if path is None else Path(path)

"""From a request to a machine: the image is found and read, firmware and accelerator are looked up."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dibo.api.conversion import ConvertRequest, convert
from dibo.api.conversions.opened import open_trusted
from dibo.api.machines.other_files import with_kernel_beside
from dibo.api.machines.request import MEMORY, BootRequest
from dibo.errors import DiboError, DiskImageError, MachineError, RootNotBootable, UsageError
from dibo.formats.source import Source
from dibo.images.layers.limits import Limits
from dibo.images.layers.load import LoadOptions, load
from dibo.images.layers.spool import Spool
from dibo.machines import seed
from dibo.machines.accelerator import AUTO, choose_accelerator
from dibo.machines.boards import Board, FirmwareKind, board_of
from dibo.machines.boot_image import BootImage, boot_image, direct_kernel
from dibo.machines.firmware import descriptor_directories, find_firmware, with_own_variables
from dibo.machines.kernel_directory import (
    KernelDirectory,
    kernel_architecture,
    loadable,
    read_directory,
)
from dibo.machines.machine import (
    DirectKernel,
    FirmwareFiles,
    MachineDisk,
    PortForward,
    VirtualMachine,
    parse_port,
)
from dibo.machines.running_table import free_name, running_machines
from dibo.machines.ssh import SSH_PORT
from dibo.machines.unpacked_image import unpacked_image
from dibo.settings.settings import Settings
from dibo.system import resources
from dibo.system.report import Report
from dibo.system.workspace import Run
from dibo.tree.query import find
from dibo.units import MIB, format_gib, human_size, parse_gib

_HOST_NAME: Final = re.compile(r"[^A-Za-z0-9-]+")
_PACKED: Final = "it is packed, or converted for this boot"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledMachine:
    """A machine, and how it is entered: the key and the user; None without a seed."""

    machine: VirtualMachine
    user: str
    key: Path | None
    directory: Path
    """For what the machine writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Material:
    """What is booted: a disk, a kernel, or both."""

    image: BootImage | None = None
    disk: Source | None = None
    directory: KernelDirectory | None = None
    is_copy: bool = False
    """Whether the disk is a file of this run."""


@contextmanager
def assembled(
    settings: Settings, request: BootRequest, run: Run, report: Report
) -> Iterator[AssembledMachine]:
    """Raises UsageError, MachineError, DiskImageError, ToolMissing, and what `dibo convert` raises."""
    request.check()
    request = with_kernel_beside(request)
    directory = run.subdirectory("machine")
    with ExitStack() as stack:
        material = _material(settings, request, run, report, stack)
        board = board_of(_architecture(settings, request, material))
        machine_type = _machine_type(request, board, material)
        firmware = _firmware(request, board, machine_type, material, settings.environment)
        kernel = _kernel(request, board, firmware, material, directory)
        name = _name(request, settings.cache)
        login, key = _login(request, material, directory)
        machine = VirtualMachine(
            name=name,
            board=board,
            machine=machine_type,
            accelerator=choose_accelerator(
                request.accelerator, board, request.processors, cache=settings.cache
            ),
            processors=request.processors or 1,
            memory=request.memory or _memory(kernel),
            firmware=with_own_variables(firmware, directory / "variables"),
            kernel=kernel,
            disks=(*_disks(request, material), *_seed_disks(login, material, name, directory)),
            ports=_ports(request),
            network=request.network,
            screen=any(step.kind.value == "screenshot" for step in request.steps),
            credentials=_credentials(login, material),
        )
        user = login.user if login is not None else ""
        yield AssembledMachine(machine=machine, user=user, key=key, directory=directory)


def _material(
    settings: Settings, request: BootRequest, run: Run, report: Report, stack: ExitStack
) -> _Material:
    if request.image is None:
        return _Material()
    path = Path(request.image)
    if path.is_dir():
        directory = read_directory(path)
        if directory.disk is None:
            return _Material(directory=directory)
        image, disk = stack.enter_context(boot_image(directory.disk, run=run, report=report))
        return _Material(image=image, disk=disk, directory=directory)
    if os.path.lexists(path):
        unpacked = unpacked_image(path, run=run, report=report)
        is_copy = unpacked != path
    else:
        unpacked, is_copy = _converted(settings, request, run, report), True
    if is_copy and request.write:
        raise UsageError(
            f"--write: {path} cannot be written to, {_PACKED}", hint="unpack or convert it first"
        )
    image, disk = stack.enter_context(boot_image(unpacked, run=run, report=report))
    if request.write and image.path != unpacked:
        raise UsageError(
            f"--write: {path} cannot be written to in its format",
            hint="qemu-img convert -O qcow2 makes one that can be",
        )
    return _Material(image=image, disk=disk, is_copy=is_copy)


def _converted(settings: Settings, request: BootRequest, run: Run, report: Report) -> Path:
    """A disk of a container image, made as `dibo convert` makes it."""
    assert request.image is not None
    conversion = ConvertRequest(
        reference=request.image,
        layout_file=None,
        bare=False,
        prepare=False,
        checksums=False,
        limits=Limits(),
        kit=request.kit,
    )
    output = run.subdirectory("image") / "disk"
    if request.architecture is not None:
        settings = replace(settings, architecture=request.architecture)
    try:
        (path,) = convert(
            replace(settings, output=output, types=("raw",), types_named=True), conversion, report
        )
    except RootNotBootable as error:
        if not error.disk:
            raise
        return _held_disk(settings, request.image, error.disk, output, report)
    return path


def _held_disk(settings: Settings, reference: str, disk: str, target: Path, report: Report) -> Path:
    """Write the disk that an image holds at the path `disk` to `target`, which is returned."""
    with (
        open_trusted(settings, reference, target.parent) as image,
        tempfile.TemporaryFile(dir=target.parent) as file,
        report.task(disk) as task,
    ):
        spool = Spool(file)
        node = find(load(image.layers, spool, LoadOptions(progress=report.progress)).root, disk)
        assert node is not None and node.content is not None
        with target.open("wb") as out:
            out.writelines(spool.read(node.content))
        task.note(human_size(node.size))
    return target


def _architecture(settings: Settings, request: BootRequest, material: _Material) -> str:
    """Of the option, the image, the kernel, or this machine."""
    of_kernel = kernel_architecture(request.kernel) if request.kernel else ""
    of_directory = material.directory.architecture if material.directory else ""
    of_image = material.image.architecture if material.image else ""
    return request.architecture or of_kernel or of_directory or of_image or settings.architecture


def _machine_type(request: BootRequest, board: Board, material: _Material) -> str:
    wish = request.machine or (material.directory.machine if material.directory else None)
    if wish is None:
        return board.machines[0]
    if wish not in board.machines:
        raise UsageError(
            f"{wish} is no machine for {board.architecture}", hint=f"one of {', '.join(board.machines)}"
        )
    return wish


def _firmware(
    request: BootRequest, board: Board, machine: str, material: _Material, environment: Mapping[str, str]
) -> FirmwareFiles:
    """The kind that is asked for; else the first that fits the image and is installed."""
    directories = descriptor_directories(environment)
    if request.firmware != AUTO:
        kind = FirmwareKind(request.firmware)
        if kind is not FirmwareKind.NONE and (request.kernel is not None or machine == "microvm"):
            raise UsageError(f"--firmware {kind.value} does not load a kernel from outside of the disk")
        return find_firmware(board, machine, kind, directories=directories)
    if request.kernel is not None or material.directory is not None or machine == "microvm":
        return FirmwareFiles(kind=FirmwareKind.NONE)
    assert material.image is not None
    if FirmwareKind.NONE in material.image.firmware:
        return FirmwareFiles(kind=FirmwareKind.NONE)
    fitting = [
        kind
        for kind in board.firmware
        if kind in material.image.firmware and kind is not FirmwareKind.SECURE_BOOT
    ]
    errors: list[MachineError] = []
    for kind in fitting or board.firmware[:1]:
        try:
            return find_firmware(board, machine, kind, directories=directories)
        except MachineError as error:
            errors.append(error)
    raise errors[0]


def _kernel(
    request: BootRequest, board: Board, firmware: FirmwareFiles, material: _Material, directory: Path
) -> DirectKernel | None:
    """None where firmware starts the machine."""
    if firmware.kind is not FirmwareKind.NONE:
        if request.append:
            raise UsageError(
                "--append works only with a kernel from outside of the disk", hint="add --firmware none"
            )
        return None
    console = f"console={board.console}"
    if request.kernel is not None:
        return DirectKernel(
            kernel=loadable(request.kernel, board, directory),
            initrd=request.initrd,
            arguments=f"{console} {request.append}".strip(),
        )
    if material.directory is not None:
        kernel = material.directory.kernel
    else:
        if material.disk is None:
            raise DiskImageError("there is no kernel")
        kernel = direct_kernel(material.disk, directory)
    arguments = " ".join(filter(None, (kernel.arguments, console, request.append)))
    return replace(kernel, kernel=loadable(kernel.kernel, board, directory), arguments=arguments)


def _memory(kernel: DirectKernel | None) -> int:
    """More for a root in memory: the kernel unpacks it while the packed one is there."""
    size = kernel.initrd.stat().st_size // MIB if kernel is not None and kernel.initrd is not None else 0
    return max(MEMORY, 512 + 5 * size)


def _name(request: BootRequest, cache: Path) -> str:
    """A name that no running machine has. Raises UsageError for one that is asked for and taken."""
    if request.name is not None:
        if _HOST_NAME.search(request.name) or not request.name.strip("-"):
            raise UsageError(f"{request.name!r} is no name of a machine", hint="letters, digits and dashes")
        if any(entry.name == request.name for entry in running_machines(cache)):
            raise UsageError(f"a machine {request.name!r} runs already", hint=f"dibo ssh {request.name}")
        return request.name
    source = request.image or (request.kernel.name if request.kernel else "machine")
    stem = source.rstrip("/").rpartition("/")[2].partition("@")[0].partition(":")[0].partition(".")[0]
    return free_name(_HOST_NAME.sub("-", stem).strip("-")[:40] or "machine", cache)


def _login(
    request: BootRequest, material: _Material, directory: Path
) -> tuple[seed.Login | None, Path | None]:
    """Who may log in, and the key for it."""
    if not request.seed:
        if request.user or request.password:
            raise UsageError("--user and --password work only with a seed", hint="leave out --no-seed")
        return None, None
    key = seed.make_key(directory)
    files = request.public_keys
    default = material.image.user if material.image else ""
    login = seed.Login(
        user=request.user or default or seed.ROOT,
        default=default,
        public_keys=seed.public_keys(key, seed.own_public_keys(resources.home()) if files is None else files),
        password=request.password,
    )
    return login, key


def _seed_disks(
    login: seed.Login | None, material: _Material, name: str, directory: Path
) -> tuple[MachineDisk, ...]:
    if login is None:
        return ()
    image = directory / "seed.img"
    has_kit = material.image is not None and material.image.has_kit
    seed.write_seed(image, name=name, instance=secrets.token_hex(8), login=login, is_bare=has_kit)
    return (MachineDisk(path=image, format="raw", serial="seed", read_only=True),)


def _disks(request: BootRequest, material: _Material) -> tuple[MachineDisk, ...]:
    if material.image is None:
        if request.size is not None:
            raise UsageError(
                "--size needs a disk, and there is none", hint="leave it out: the root is in memory"
            )
        return ()
    path, image_format = material.image.path.absolute(), material.image.format
    keep = request.write or material.is_copy
    if request.write and not os.access(path, os.W_OK):
        raise DiskImageError(f"cannot write to {path}", hint="leave out --write, or boot a copy")
    disk = MachineDisk(
        path=path,
        format=image_format,
        serial="root",
        throw_away=not keep,
        is_flushed=request.write,
        sector=material.image.sector,
        grow_to=_grown_size(request, material),
    )
    return (disk,)


def _grown_size(request: BootRequest, material: _Material) -> int | None:
    """Raises UsageError for a disk that would shrink."""
    if request.size is None or material.disk is None:
        return None
    size = parse_gib(request.size, name="--size")
    if size < material.disk.size:
        raise UsageError(
            f"--size {request.size}: the disk has {human_size(material.disk.size)}, and cannot shrink",
            hint=f"--size {format_gib(-(-material.disk.size // MIB) * MIB)} or more",
        )
    return size


def _ports(request: BootRequest) -> tuple[PortForward, ...]:
    """With one for SSH."""
    if request.network == "none":
        return ()
    ports = tuple(map(parse_port, request.ports))
    has_ssh = any(port.guest == SSH_PORT and port.protocol == "tcp" for port in ports)
    return ports if has_ssh else (PortForward(guest=SSH_PORT), *ports)


def _credentials(login: seed.Login | None, material: _Material) -> tuple[tuple[str, str], ...]:
    """For images without cloud-init, whose root logs in."""
    if login is None or login.user != seed.ROOT or login.default or material.image is None:
        return ()
    return ((seed.CREDENTIAL, "\n".join(login.public_keys) + "\n"),)


def explained(error: DiboError, request: BootRequest) -> DiboError:
    """What to do, for an image that is neither a file nor a reference."""
    if isinstance(error, UsageError) and request.image is not None and "names no image" in error.message:
        error.message = f"there is no file {request.image!r}, and it names no container image"
    return error

"""What a disk image says about the machine that it is for: architecture, firmware, the user that logs in.

    architecture   a program of the root (ELF), else the boot loader for UEFI (EFI/BOOT/BOOTX64.EFI)
    BIOS           code in the first sector
    UEFI           such a boot loader
    sectors        where the header of the partition table is (UEFI, 5.3.2)
    no firmware    no partition table: QEMU loads the kernel of the file system
    user           `system_info.default_user.name` of /etc/cloud/cloud.cfg, where that is

Nothing is mounted, and no program runs but qemu-img for formats other than raw and qcow2 (dibo.inspect).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from dibo.boot.parts import FIRMWARE
from dibo.errors import DiskImageError
from dibo.formats import magic
from dibo.formats.filesystem import FileSystem, Kind, find, names_in, read_text
from dibo.formats.partitions import gpt
from dibo.formats.source import Source
from dibo.inspect.cmdline import cmdline
from dibo.inspect.kernels import File, choose, kernels
from dibo.inspect.open_image import opened
from dibo.inspect.volumes import Volume, volumes
from dibo.kits.files import SERVICE
from dibo.machines.boards import FirmwareKind
from dibo.machines.machine import DirectKernel
from dibo.system.report import Report
from dibo.system.workspace import Run
from dibo.units import SECTOR

_LOADERS: Final = {f"BOOT{suffix.upper()}.EFI".encode(): name for name, suffix in FIRMWARE.items()}
"""What UEFI starts by itself, and for which architecture."""
_MACHINES: Final = {
    (2, 1, 62): "amd64",
    (1, 1, 3): "i386",
    (2, 1, 183): "arm64",
    (1, 1, 40): "armhf",
    (2, 1, 243): "riscv64",
    (2, 1, 21): "ppc64el",
    (2, 2, 22): "s390x",
}
"""EI_CLASS, EI_DATA and e_machine of the ELF header (System V ABI, chapter 4)."""
_PROGRAMS: Final = ("/bin/sh", "/usr/bin/env", "/sbin/init")
_CODE: Final = 440
"""Bytes of the first sector that are code (of an MBR)."""
_CLOUD_CONFIG: Final = "/etc/cloud/cloud.cfg"
_CLOUD_CONFIGS: Final = "/etc/cloud/cloud.cfg.d"
_LARGEST: Final = 1 << 18
_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BootImage:
    """A disk image, as a machine uses it. `path` and `format` are the file as QEMU reads it; `architecture` and `user`
    are empty where the image does not say."""

    path: Path
    format: str
    architecture: str
    firmware: tuple[FirmwareKind, ...]
    """With which it starts, the first ones preferred; NONE where only a kernel from outside starts it."""
    user: str
    has_kit: bool
    """Whether a kit of dibo starts it (dibo.kits)."""
    sector: int
    """Bytes of the sectors that its partition table counts in."""


@contextmanager
def boot_image(path: Path, *, run: Run, report: Report) -> Iterator[tuple[BootImage, Source]]:
    """What an image is, and the disk in it, as long as the context lasts. Raises DiskImageError, ToolMissing."""
    with opened(path, run=run, report=report) as (disk, file, kind):
        head = disk.read(0, min(magic.HEAD, disk.size))
        sector = gpt.sector_of(head)
        parts = _volumes(disk)
        systems = [volume.system for volume in parts if volume.system is not None]
        loader = next((name for system in systems if (name := _loader(system))), "")
        architecture = next((name for system in systems if (name := _program(system))), "") or loader
        image = BootImage(
            path=file,
            format=kind,
            architecture=architecture,
            firmware=_firmware(head, loader=loader, sector=sector),
            user=next((name for system in systems if (name := default_user(system))), ""),
            has_kit=any(map(_has_kit, systems)),
            sector=sector,
        )
        yield image, disk


def _volumes(disk: Source) -> tuple[Volume, ...]:
    """Nothing of a disk whose table is damaged: whether it boots is the machine's business."""
    try:
        return volumes(disk)
    except DiskImageError:
        return ()


def _firmware(head: bytes, *, loader: str, sector: int) -> tuple[FirmwareKind, ...]:
    if magic.archive(head) != "iso9660" and not magic.has_partition_table(head):
        return (FirmwareKind.NONE,)
    by_bios = any(head[:_CODE]) or not loader
    bios = (FirmwareKind.BIOS,) if by_bios and sector == SECTOR else ()  # it reads no others
    return (*bios, FirmwareKind.UEFI, FirmwareKind.UBOOT, FirmwareKind.BUILT_IN)


def _loader(system: FileSystem) -> str:
    """The architecture of the loader that UEFI starts by itself."""
    try:
        names = {name.upper() for name in names_in(system, "/EFI/BOOT")}
    except DiskImageError:
        return ""
    return next((architecture for name, architecture in _LOADERS.items() if name in names), "")


def _program(system: FileSystem) -> str:
    """The architecture of a program of the root."""
    for path in _PROGRAMS:
        try:
            entry = find(system, path)
            if entry is not None and entry.kind is Kind.FILE:
                return elf_architecture(next(iter(system.content(entry)), b""))
        except DiskImageError:
            continue
    return ""


def elf_architecture(head: bytes) -> str:
    """Debian's word for the architecture of an ELF file that begins so; empty for others."""
    if not head.startswith(magic.ELF) or len(head) < 20:
        return ""
    machine = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    return _MACHINES.get((head[4], head[5], machine), "")


def _has_kit(system: FileSystem) -> bool:
    try:
        return find(system, str(SERVICE)) is not None
    except DiskImageError:
        return False


def default_user(system: FileSystem) -> str:
    """The user that cloud-init of this root makes; empty where there is none, or it cannot be read."""
    try:
        extra = [f"{_CLOUD_CONFIGS}/{name.decode()}" for name in names_in(system, _CLOUD_CONFIGS)]
        texts = [
            text
            for path in (_CLOUD_CONFIG, *(path for path in extra if path.endswith(".cfg")))
            if (text := read_text(system, path, limit=_LARGEST)) is not None
        ]
    except (DiskImageError, UnicodeDecodeError):
        return ""
    names = [name for text in texts if _USER.fullmatch(name := _configured(text))]
    return names[-1] if names else ""


def _configured(text: str) -> str:
    try:
        config: Any = yaml.safe_load(text)
        return str(config["system_info"]["default_user"]["name"])
    except (yaml.YAMLError, KeyError, TypeError, RecursionError, ValueError):
        return ""


def direct_kernel(disk: Source, directory: Path, *, version: str | None = None) -> DirectKernel:
    """The newest kernel of a disk, with its ramdisk and the arguments of its boot loader, as files in `directory`.
    Raises DiskImageError."""
    parts = volumes(disk)
    available = kernels(parts)
    if not available:
        raise DiskImageError(
            "the image has no partition table and no kernel: nothing starts it",
            hint="give it a kernel: dibo boot --kernel FILE --initrd FILE --append TEXT IMAGE",
        )
    kernel = choose(available, version)
    image, initrd = directory / "kernel", directory / "initrd"
    for path, files in ((image, (kernel.kernel,)), (initrd, kernel.ramdisks)):
        _copy(kernel.system, files, path)
    return DirectKernel(kernel=image, initrd=initrd, arguments=cmdline(kernel, parts))


def _copy(system: FileSystem, files: Sequence[File], path: Path) -> None:
    with path.open("wb") as target:
        for file in files:
            for piece in system.content(file.entry):
                target.write(piece)

"""What a disk image holds, as values: partitions, kernels, the operating system and its packages.

    partitions       GPT, MBR, or the disk itself (dibo.inspect.volumes)
    kernels          dibo.inspect.kernels
    system           os-release(5) of the first volume that has one
    packages         dpkg's database of that volume (dibo.tree.dpkg)

Only file systems that dibo reads itself count: ext2, ext3, ext4 and vfat. Of others the volume is listed with its
type, label and UUID.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from dibo.errors import DiskImageError
from dibo.formats.filesystem import FileSystem, Kind, find, names_in, read_text, whole
from dibo.inspect.kernels import kernels
from dibo.inspect.volumes import Volume
from dibo.layout.placement import type_of
from dibo.tree.dpkg import Package, parse
from dibo.tree.query import parse_os_release

_OS_RELEASE: Final = ("/etc/os-release", "/usr/lib/os-release")
_STATUS: Final = "/var/lib/dpkg/status"
_STATUS_DIRECTORY: Final = "/var/lib/dpkg/status.d"
_MOST_TEXT: Final = 1 << 20
_MOST_STATUS: Final = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskPartition:
    """A partition, or the whole disk with the number 0. `start` and `size` are in bytes; `type` is a name of a
    layout (`linux-root`), else the UUID of a GPT or the byte of an MBR; `filesystem` is empty where none is known;
    `trouble` says why a file system cannot be read."""

    number: int
    start: int
    size: int
    type: str
    filesystem: str
    label: str
    uuid: str
    trouble: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledKernel:
    """A kernel with its ramdisks, in the order in which they are loaded: paths on the volume of the partition with
    that number. `arguments` are the boot loader's; None where it has none."""

    version: str
    partition: int
    path: str
    ramdisks: tuple[str, ...]
    arguments: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingSystem:
    """Of os-release(5): ID, VERSION_ID, PRETTY_NAME; each may be empty."""

    id: str
    version: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskContents:
    """A disk image. `format` is in QEMU's words (`qcow2`, `raw`), `size` that of the disk in bytes. Kernels are
    sorted, the newest last. `system` and `packages` are None where nothing was found; packages are sorted by name."""

    format: str
    size: int
    partitions: tuple[DiskPartition, ...]
    kernels: tuple[InstalledKernel, ...]
    system: OperatingSystem | None
    packages: tuple[Package, ...] | None


def contents_of(volumes: Sequence[Volume], *, image_format: str, size: int) -> DiskContents:
    """What is on `volumes`, the volumes of one disk of `size` bytes. Raises DiskImageError for damaged file systems."""
    readable = [volume.system for volume in volumes if volume.system is not None]
    root = next((system for system in readable if _os_release(system) is not None), None)
    return DiskContents(
        format=image_format,
        size=size,
        partitions=tuple(map(_partition, volumes)),
        kernels=tuple(
            InstalledKernel(
                version=kernel.version,
                partition=kernel.volume.place.number,
                path=kernel.kernel.path,
                ramdisks=tuple(file.path for file in kernel.ramdisks),
                arguments=kernel.arguments,
            )
            for kernel in kernels(volumes)
        ),
        system=_operating_system(root) if root is not None else None,
        packages=_packages(root) if root is not None else None,
    )


def _partition(volume: Volume) -> DiskPartition:
    place = volume.place
    return DiskPartition(
        number=place.number,
        start=place.offset,
        size=place.size,
        type=_type_name(place.kind),
        filesystem=volume.kind,
        label=volume.label,
        uuid=volume.uuid,
        trouble=volume.trouble,
    )


def _type_name(kind: UUID | int | None) -> str:
    if isinstance(kind, UUID):
        known = type_of(kind)
        return known.value if known is not None else str(kind)
    return "" if kind is None else f"{kind:#04x}"


def _os_release(system: FileSystem) -> str | None:
    texts = (read_text(system, path, limit=_MOST_TEXT) for path in _OS_RELEASE)
    return next((text for text in texts if text is not None), None)


def _operating_system(system: FileSystem) -> OperatingSystem:
    variables = parse_os_release(_os_release(system) or "")
    return OperatingSystem(
        id=variables.get("ID", ""),
        version=variables.get("VERSION_ID", ""),
        name=variables.get("PRETTY_NAME", ""),
    )


def _packages(system: FileSystem) -> tuple[Package, ...] | None:
    names = [name.decode(errors="surrogateescape") for name in names_in(system, _STATUS_DIRECTORY)]
    paths = [f"{_STATUS_DIRECTORY}/{name}" for name in names if not name.endswith(".md5sums")]
    texts = [text for path in (_STATUS, *paths) if (text := _database(system, path)) is not None]
    return tuple(sorted({package for text in texts for package in parse(text)})) if texts else None


def _database(system: FileSystem, path: str) -> str | None:
    """Raises DiskImageError for one that is too large."""
    entry = find(system, path)
    if entry is None or entry.kind is not Kind.FILE:
        return None
    try:
        data = whole(system, entry, limit=_MOST_STATUS, description=path)
    except DiskImageError as error:
        raise DiskImageError(f"cannot read the list of packages: {error.message}", hint=error.hint) from error
    return data.decode(errors="replace")

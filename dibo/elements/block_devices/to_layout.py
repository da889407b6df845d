"""Block devices of an element as a layout of dibo.

Differences that remain: names of partitions are in lower case, identifiers come from the image, not from the file, and
an MBR with more than four partitions has the fourth and all after it as logical ones, whichever are marked primary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, Final
from uuid import UUID

from dibo.elements.block_devices.model import BlockDevices, DeviceFileSystem, DevicePartition
from dibo.errors import LayoutError
from dibo.layout.merge import complete
from dibo.layout.model import (
    FileSystemType,
    Flag,
    Headroom,
    Layout,
    PartitionContent,
    PartitionType,
    Sizing,
    TableType,
    Type,
)
from dibo.layout.parse import PartitionStatement, Statement, ValuePath
from dibo.layout.schema import GUID_PATTERN
from dibo.units import MIB, SECTOR

_BIOS_BOOT: Final = UUID("21686148-6449-6e6f-744e-656564454649")  # GRUB manual, 3.4
_PREP: Final = UUID(
    "9e1a2d38-c612-4316-aa26-8b49521e5a8b"
)  # Linux on Power Architecture Platform Reference, C.3
_SGDISK: Final[Mapping[str, Type]] = {
    "0700": PartitionType.BASIC_DATA,
    "4100": _PREP,
    "8200": PartitionType.SWAP,
    "8300": PartitionType.LINUX,
    "8302": PartitionType.LINUX_HOME,
    "8306": PartitionType.LINUX_SRV,
    "8310": PartitionType.LINUX_VAR,
    "8311": PartitionType.LINUX_TMP,
    "8e00": PartitionType.LINUX_LVM,
    "ea00": PartitionType.XBOOTLDR,
    "ef00": PartitionType.ESP,
    "ef02": PartitionType.BIOS_BOOT,
    "fd00": PartitionType.LINUX_RAID,
}
"""Types of a GPT by the codes of sgdisk(8), `sgdisk --list-types`."""
_LINUX: Final = "8300"
_LINUX_CODE: Final = 0x83
_OLDER_EXT: Final = ("ext2", "ext3")
_LARGE_SECTOR: Final = 4096
_GPT_RESERVE: Final = 2 * MIB
"""What the shares of partitions in a GPT leave for both copies of the table."""
_NAME: Final = re.compile(r"[^a-z0-9._-]+")
DEVICE_HEADROOM: Final = Headroom(percent=Decimal(67))
"""Where nothing says how large a disk is, 60 % of it are full, as in diskimage-builder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLayout:
    layout: Layout | None
    """None for one file system on a disk without partitions."""
    root_filesystem: str
    """Also `ext3` and `ext2`, which a layout does not have."""
    root_label: str
    notes: tuple[str, ...]
    """Warnings."""


def to_layout(
    devices: BlockDevices, *, size: int | None, bootable: bool, headroom: Headroom = DEVICE_HEADROOM
) -> DeviceLayout:
    """The layout of a disk of `size` bytes, if that is known; the file may have one of its own. Where neither is, the
    disk fits what is on it, with `headroom` in its root. `bootable` says whether boot loaders go into the partitions
    that are for them. Raises LayoutError."""
    if devices.disk.size is not None:
        size = devices.disk.size
    notes = [*devices.notes, *_notes(devices)]
    if not devices.table:
        layout = None
    else:
        layout = complete(_Converter(devices, size, headroom, bootable=bootable).statement())
        notes += _numbers(devices)
    return DeviceLayout(
        layout=layout,
        root_filesystem=devices.root.type,
        root_label=devices.root.label,
        notes=tuple(notes),
    )


def _notes(devices: BlockDevices) -> Iterator[str]:
    for filesystem in devices.filesystems:
        if filesystem.options:
            yield f"{filesystem.place}: the options {filesystem.options} have no effect: dibo has its own for mkfs"
        if filesystem.uuid:
            yield f"{filesystem.place}: the uuid has no effect: identifiers come from the image"
        if filesystem.type in _OLDER_EXT and filesystem is not devices.root:
            yield f"{filesystem.place}: {filesystem.type} becomes ext4: dibo writes it for the root alone"
    for mount in devices.mounts:
        if mount.fstab is None:
            yield f"{devices.origin}: {mount.name}: gets a line in fstab, as every mount of a layout"


def _numbers(devices: BlockDevices) -> Iterator[str]:
    if devices.table != "mbr":
        return
    numbers_in_dib, numbers = [], []
    primary, logical = 0, 4
    count = len(devices.partitions)
    for index, partition in enumerate(devices.partitions, start=1):
        if partition.primary:
            primary += 1
        else:
            logical += 1
        numbers_in_dib.append(primary if partition.primary else logical)
        numbers.append(index if count <= 4 or index < 4 else index + 1)
    if numbers_in_dib != numbers:
        yield (
            f"{devices.origin}: partitions have the numbers {', '.join(map(str, numbers))} here,"
            f" {', '.join(map(str, numbers_in_dib))} in diskimage-builder"
        )


class _Converter:
    def __init__(
        self, devices: BlockDevices, size: int | None, headroom: Headroom, *, bootable: bool
    ) -> None:
        self._devices = devices
        self._size = size
        self._headroom = headroom
        self._bootable = bootable
        self._is_gpt = devices.table == TableType.GPT.value
        self._free = None if size is None else size - (_GPT_RESERVE if self._is_gpt else devices.alignment)
        """Bytes that the partitions up to now leave."""
        self._names: set[str] = set()

    def statement(self) -> Statement:
        devices = self._devices
        values: list[tuple[str, Any]] = [("table", TableType(devices.table))]
        if devices.alignment != MIB:
            if devices.alignment < 4096 or devices.alignment & (devices.alignment - 1):
                raise LayoutError(
                    f"{devices.origin}: align: expected a power of two from 4KiB, as KiB or MiB"
                )
            values.append(("alignment", devices.alignment))
        values.append(("size", Sizing.FIT if self._size is None else self._size))
        if devices.disk.sector != SECTOR:
            values.append(("sector", devices.disk.sector))
        return Statement(
            values=tuple(values),
            partitions=tuple(self._partition(partition) for partition in devices.partitions),
            value_path=ValuePath(devices.origin, "disk"),
        )

    def _partition(self, partition: DevicePartition) -> PartitionStatement:
        filesystem = next((one for one in self._devices.filesystems if one.base == partition.name), None)
        type_ = self._type(partition)
        values: dict[str, Any] = {"type": type_, "size": self._bytes(partition)}
        if self._size is None and isinstance(values["size"], Sizing):
            values["headroom"] = self._headroom
        if filesystem is not None:
            values |= self._contents(filesystem)
        if self._bootable:
            if type_ is PartitionType.BIOS_BOOT:
                values["content"] = PartitionContent.GRUB_CORE
            elif self._is_esp(type_, filesystem):
                values["content"] = PartitionContent.ESP
        if partition.boot and (self._is_gpt or self._bootable):
            values["flags"] = frozenset({Flag.BOOTABLE})
        return PartitionStatement(
            name=self._name(partition.name),
            values=tuple(values.items()),
            value_path=ValuePath(self._devices.origin, f"the partition {partition.name}"),
        )

    def _name(self, name: str) -> str:
        base = (_NAME.sub("-", name.lower()).strip("._-") or "partition")[:33]
        names = (base, *(f"{base}-{number}" for number in range(2, 1000)))
        free = next(candidate for candidate in names if candidate not in self._names)
        self._names.add(free)
        return free

    def _type(self, partition: DevicePartition) -> Type:
        text = partition.type.lower().removeprefix("0x")
        place = f"{partition.place}.type"
        if not self._is_gpt:
            if not re.fullmatch(r"[0-9a-f]{0,2}", text):
                raise LayoutError(f"{place}: expected a number such as 0x83, got {partition.type!r}")
            return int(text, 16) if text else _LINUX_CODE
        if re.fullmatch(GUID_PATTERN, text, re.IGNORECASE):
            return UUID(text)
        type_ = _SGDISK.get(text.rjust(4, "0") if text else _LINUX)
        if type_ is None:
            raise LayoutError(
                f"{place}: the code {partition.type} is not known here",
                hint="write the GUID of the type instead",
            )
        if type_ is PartitionType.BIOS_BOOT and self._devices.disk.sector == _LARGE_SECTOR:
            return _BIOS_BOOT  # empty: BIOS does not boot from such a disk
        return type_

    def _is_esp(self, type_: Type, filesystem: DeviceFileSystem | None) -> bool:
        esp = type_ is PartitionType.ESP or type_ == 0xEF
        return esp and filesystem is not None and filesystem.type == "vfat"

    def _contents(self, filesystem: DeviceFileSystem) -> dict[str, Any]:
        kind = "ext4" if filesystem.type in _OLDER_EXT else filesystem.type
        known = [one.value for one in FileSystemType if one is not FileSystemType.NONE]
        if kind not in known:
            raise LayoutError(
                f"{filesystem.place}.type: dibo does not make {filesystem.type}",
                hint=f"file systems: {', '.join((*known, *_OLDER_EXT))}",
            )
        values: dict[str, Any] = {"filesystem": FileSystemType(kind), "label": filesystem.label}
        mount = next((one for one in self._devices.mounts if one.filesystem is filesystem), None)
        if mount is not None:
            options = mount.fstab[0] if mount.fstab else ""
            words = tuple(word for word in options.split(",") if word not in ("", "defaults", "sw"))
            if mount.path != "none":
                values["mount"] = PurePosixPath(mount.path)
            if words:
                values["options"] = words
        return values

    def _bytes(self, partition: DevicePartition) -> int | Sizing:
        """A size, or the rest for the last partition that gets all that is free."""
        share = partition.size
        is_rest = isinstance(share, Decimal) and share == 100 and partition is self._devices.partitions[-1]
        if isinstance(share, int):
            size = max(1, share // MIB) * MIB  # as there, downwards
        elif self._free is not None:
            size = int(self._free * share / 100) // MIB * MIB
        elif is_rest:
            return Sizing.REST
        else:
            raise LayoutError(
                f"{partition.place}.size: {share}% is of a disk whose size is not known",
                hint="add --image-size, or the key size of local_loop",
            )
        if self._free is not None:
            if size > self._free or size <= 0:
                written = str(share) if isinstance(share, int) else f"{share}%"
                raise LayoutError(
                    f"{partition.place}.size: {written} does not fit: {self._free // MIB} MiB are free",
                    hint="add --image-size, or make partitions smaller",
                )
            self._free -= size
        return Sizing.REST if is_rest else size

"""The disk that a block-device file describes: partitions, file systems, mounts and lines of fstab."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from dibo.units import SECTOR


@dataclass(frozen=True, slots=True, kw_only=True)
class RootOptions:
    """What the options of a command say of the root file system, where the file is silent."""

    filesystem: str = "ext4"
    label: str = ""
    mkfs_options: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    name: str
    size: int | None
    """Bytes, or None for what the command says."""
    sector: int = SECTOR


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePartition:
    name: str
    size: int | Decimal
    """Bytes; or percent of what the partitions before it leave."""
    type: str
    """As written: a code of sgdisk or a GUID for a GPT, a hexadecimal number for an MBR; empty for Linux."""
    boot: bool = False
    primary: bool = False
    place: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFileSystem:
    name: str
    base: str
    type: str
    label: str
    options: str = ""
    uuid: str = ""
    place: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMount:
    name: str
    filesystem: DeviceFileSystem
    path: str
    """`none` for swap."""
    fstab: tuple[str, int, int] | None = None
    """Options, dump frequency, pass of fsck; None for no line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDevices:
    origin: str
    disk: Disk
    table: str
    """`mbr`, `gpt`; empty for a file system on the whole disk."""
    alignment: int
    partitions: tuple[DevicePartition, ...]
    filesystems: tuple[DeviceFileSystem, ...]
    mounts: tuple[DeviceMount, ...]
    """Parents first, swap last."""
    order: tuple[str, ...]
    """Names of all nodes, in the order in which they would be made."""
    notes: tuple[str, ...] = ()
    """What is in the file, and has no effect: warnings."""

    def mounted_at(self, path: str) -> DeviceFileSystem | None:
        return next((mount.filesystem for mount in self.mounts if mount.path == path), None)

    @property
    def root(self) -> DeviceFileSystem:
        root = self.mounted_at("/")
        assert root is not None  # check_devices refuses what has none
        return root

    def variables(self) -> dict[str, str]:
        """What hooks of elements read of it."""
        boot = self.mounted_at("/boot")
        return {
            "DIB_ROOT_LABEL": self.root.label,
            "DIB_ROOT_FSTYPE": self.root.type,
            "DIB_BOOT_LABEL": boot.label if boot else "",
            "DIB_MOUNTPOINTS": "|".join(mount.path for mount in self.mounts),
        }

    def fstab(self) -> str:
        """The text of /etc/fstab that hooks of finalise.d see."""
        lines = []
        for mount in self.mounts:
            if mount.fstab is not None:
                options, frequency, check = mount.fstab
                filesystem = mount.filesystem
                lines.append(
                    f"LABEL={filesystem.label} {mount.path} {filesystem.type} {options} {frequency} {check}\n"
                )
        return "".join(lines)

"""The model of a layout: a disk and its partitions as users describe them.

Values of the enums are the names that users write in a flavour. placement.py translates them into GUIDs and codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Final
from uuid import UUID

from dibo.formats import labels
from dibo.units import MIB, SECTOR

ROOT = PurePosixPath("/")
BOOT = PurePosixPath("/boot")


class TableType(Enum):
    GPT = "gpt"
    MBR = "mbr"


class PartitionType(Enum):
    """UEFI's, GRUB's and Microsoft's, and those of the Discoverable Partitions Specification."""

    BIOS_BOOT = "bios-boot"
    ESP = "esp"
    XBOOTLDR = "xbootldr"
    """A /boot for boot loaders beside the firmware's."""
    LINUX_ROOT = "linux-root"
    """The root file system of one architecture."""
    LINUX_USR = "linux-usr"
    """/usr of one architecture."""
    LINUX_HOME = "linux-home"
    LINUX_SRV = "linux-srv"
    LINUX_VAR = "linux-var"
    LINUX_TMP = "linux-tmp"
    """/var/tmp."""  # noqa: S108
    LINUX = "linux"
    """Any other Linux file system."""
    LINUX_LVM = "linux-lvm"
    LINUX_RAID = "linux-raid"
    SWAP = "swap"
    BASIC_DATA = "basic-data"
    """Microsoft's: what every system reads."""


class FileSystemType(Enum):
    VFAT = "vfat"
    EXT4 = "ext4"
    XFS = "xfs"
    BTRFS = "btrfs"
    SWAP = "swap"
    NONE = "none"
    """No file system: the partition reads as zeros. Same as omitting the key."""

    @property
    def label_limit(self) -> int:
        """Bytes that a label may have, from each format's superblock."""
        return labels.LIMITS.get(self.value, 0)


class PartitionContent(Enum):
    """The content of a partition that is not a mounted tree of the root."""

    GRUB_CORE = "grub-core"
    ESP = "esp"


class Flag(Enum):
    """Marks of a partition in the table. An MBR has only the first and the last."""

    BOOTABLE = "bootable"
    """GPT: legacy BIOS bootable. MBR: active, and GRUB's core image goes before the first partition."""
    REQUIRED = "required"
    READ_ONLY = "read-only"
    GROW_FILE_SYSTEM = "grow-file-system"
    NO_AUTO = "no-auto"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """Free space beside the stored bytes: a share in percent, or bytes."""

    percent: Decimal | None = None
    size: int | None = None

    def of(self, stored: int) -> int:
        """Bytes to keep free beside `stored` bytes."""
        if self.size is not None:
            return self.size
        return -(-int(stored * (self.percent or 0) * 1000) // 100_000)


DEFAULT_HEADROOM: Final = Headroom(percent=Decimal(10))


class Sizing(Enum):
    """Sizes that are not numbers."""

    FIT = "fit"
    """The size of the stored files plus the headroom."""
    REST = "rest"
    """The space that the other partitions leave."""


Size = int | Sizing
"""Bytes, or a word."""
Type = PartitionType | UUID | int
"""A word; or any type of a GPT; or any of an MBR, a byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    name: str
    type: Type
    size: Size
    headroom: Headroom | None = None
    """For `fit`, and for `rest` on a disk of size `fit`."""
    filesystem: FileSystemType | None = None
    label: str = ""
    mount: PurePosixPath | None = None
    options: tuple[str, ...] = ()
    """For fstab(5), besides `defaults`."""
    flags: frozenset[Flag] = frozenset()
    content: PartitionContent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A complete layout: it has a root, and every partition has all required values."""

    table: TableType
    partitions: tuple[Partition, ...]
    alignment: int = MIB
    """Bytes: partitions start at multiples of it."""
    size: int | Sizing | None = None
    """Of the disk: bytes, Sizing.FIT, or None if the caller decides."""
    sector: int = SECTOR
    """Bytes that the disk reads and writes at once, its logical sectors: what table and FAT count in."""

    @property
    def root(self) -> Partition:
        return next(partition for partition in self.partitions if partition.mount == ROOT)

    @property
    def boot(self) -> Partition:
        """The partition that contains /boot."""
        return next(
            (partition for partition in self.partitions if partition.mount == BOOT),
            self.root,
        )

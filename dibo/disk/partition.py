"""The words of a layout: what a user can ask of a disk and of each of its partitions.

Values of the enums are the words that people write in a flavour. Type GUIDs are placement's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

ROOT = PurePosixPath("/")


class Table(Enum):
    GPT = "gpt"


class PartitionType(Enum):
    BIOS_BOOT = "bios-boot"
    ESP = "esp"
    LINUX_ROOT = "linux-root"
    """The root file system of one architecture (Discoverable Partitions Specification)."""
    LINUX = "linux"
    """Any other Linux file system."""


class FileSystem(Enum):
    VFAT = "vfat"
    EXT4 = "ext4"
    XFS = "xfs"
    BTRFS = "btrfs"

    @property
    def label_limit(self) -> int:
        """Bytes that a label may have, from each format's superblock."""
        match self:
            case FileSystem.VFAT:
                return 11
            case FileSystem.EXT4:
                return 16
            case FileSystem.XFS:
                return 12
            case FileSystem.BTRFS:
                return 255


class Content(Enum):
    """What fills a partition that is not a mounted tree of the root."""

    GRUB_CORE = "grub-core"
    ESP = "esp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    name: str
    type: PartitionType
    size: int | None
    """Bytes, or None for what the others leave."""
    filesystem: FileSystem | None = None
    label: str = ""
    mount: PurePosixPath | None = None
    content: Content | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    table: Table
    partitions: tuple[Partition, ...]

    @property
    def root(self) -> Partition:
        return next(partition for partition in self.partitions if partition.mount == ROOT)

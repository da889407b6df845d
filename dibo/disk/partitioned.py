"""A disk that hooks partitioned: where its partitions are, and what dibo adds.

    GPT    core image in the partition for it (bios-boot), the files for UEFI in the EFI system partition
    MBR    core image in the gap between sector 0 and the first partition; an EFI system partition (0xef) as above

What hooks wrote to partitions stays; dibo fills the partition of the root, and an EFI system partition that is
empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from uuid import UUID

from dibo.boot.boot_files import BootFiles
from dibo.disk import grub_cfg
from dibo.errors import LayoutError
from dibo.formats import grub_images
from dibo.formats.partitions.reader import PartitionPlace, Table
from dibo.formats.target import Target
from dibo.layout.identity import disk_guid, identify
from dibo.layout.model import FileSystemType, Partition, PartitionContent, PartitionType
from dibo.layout.model import TableType as TableKind
from dibo.layout.placement import PlacedPartition, Placement, root_partition
from dibo.units import MIB, SECTOR, human_size

_BIOS_BOOT: Final = UUID("21686148-6449-6e6f-744e-656564454649")
_ESP: Final = (UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"), 0xEF)
_ESP_LABEL: Final = "UEFI"
_ESP_MOUNT: Final = PurePosixPath("/boot/efi")
_BLOCK: Final = 4096
_SMALLEST: Final = MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionedDisk:
    """A disk of `size` bytes that is laid out, and what of it is dibo's to fill."""

    size: int
    table: Table
    root: PartitionPlace
    esp: PartitionPlace | None
    """An EFI system partition that is empty."""

    @property
    def is_to_boot(self) -> bool:
        """Whether the disk has a partition to boot from."""
        kinds = [place.kind for place in self.table.places]
        active = any(place.active for place in self.table.places)
        return active or _BIOS_BOOT in kinds or any(kind in _ESP for kind in kinds)

    @property
    def core(self) -> PartitionPlace | None:
        """Where GRUB's core image goes."""
        if self.table.is_gpt:
            return next((place for place in self.table.places if place.kind == _BIOS_BOOT), None)
        end = grub_cfg.EARLY_LBA * SECTOR if self.has_early else self.table.free_until
        return PartitionPlace(number=0, offset=SECTOR, size=max(0, end - SECTOR))

    @property
    def has_early(self) -> bool:
        """Whether the sectors are free from which the core image reads where /boot is."""
        return self.table.free_until >= grub_cfg.EARLY_LBA * SECTOR + grub_cfg.EARLY_SIZE


def check_table(table: Table, size: int) -> None:
    """Raises LayoutError if partitions overlap each other or the table, or end beyond the disk of `size` bytes."""
    before: PartitionPlace | None = None
    for place in sorted(table.places, key=lambda place: place.offset):
        if place.offset < SECTOR or place.offset + place.size > size:
            raise LayoutError(
                f"partition {place.number} covers bytes {place.offset} to {place.offset + place.size - 1} of a disk of "
                f"{size}",
                hint="the size of the disk is in IMAGE_SIZE for block-device-size.d, and is that of the device",
            )
        if before is not None and before.offset + before.size > place.offset:
            raise LayoutError(f"partitions {before.number} and {place.number} overlap")
        before = place


def find(table: Table, *, size: int, number: int) -> PartitionedDisk:
    """The disk, with the root in partition `number`. Raises LayoutError."""
    check_table(table, size)
    root = next((place for place in table.places if place.number == number), None)
    if root is None:
        numbers = ", ".join(str(place.number) for place in table.places) or "none"
        raise LayoutError(f"there is no partition {number} on the disk; there are: {numbers}")
    if root.size < _SMALLEST:
        raise LayoutError(
            f"partition {number} has {human_size(root.size)}, which is no room for a root file system"
        )
    return PartitionedDisk(size=size, table=table, root=root, esp=esp_of(table, root))


def esp_of(table: Table, root: PartitionPlace | None) -> PartitionPlace | None:
    return next((place for place in table.places if place.kind in _ESP and place != root), None)


def placement(disk: PartitionedDisk, *, identity: str, label: str) -> Placement:
    """The partitions that dibo fills, as those of a layout; `label` is the root's."""
    partitions = [_placed(root_partition(label), disk.root, identity)]
    if disk.esp is not None:
        esp = Partition(
            name="esp",
            type=PartitionType.ESP,
            size=disk.esp.size,
            filesystem=FileSystemType.VFAT,
            label=_ESP_LABEL,
            mount=_ESP_MOUNT,
            content=PartitionContent.ESP,
        )
        partitions.append(_placed(esp, disk.esp, identity))
    return Placement(
        size=disk.size,
        disk_guid=disk_guid(identity),
        partitions=tuple(partitions),
        table=TableKind.GPT if disk.table.is_gpt else TableKind.MBR,
    )


def _placed(wish: Partition, place: PartitionPlace, identity: str) -> PlacedPartition:
    return PlacedPartition(
        wish=wish,
        number=place.number,
        first_lba=place.offset // SECTOR,
        sectors=place.size // _BLOCK * _BLOCK // SECTOR,
        type_guid=UUID(int=0),
        ids=identify(identity, wish.name),
    )


def write_boot(
    target: Target, disk: PartitionedDisk, boot: BootFiles, *, placement: Placement, sector: bytes
) -> list[tuple[int, int]]:
    """Put GRUB for BIOS on the disk where there is a place for it; `sector` is its first one, whose table stays. The
    ranges that are written, as offset and size. Raises LayoutError where the disk is to boot so, and cannot."""
    core_place = disk.core
    if core_place is None or boot.boot is None or boot.core is None:
        return []
    needed = -(-len(boot.core) // SECTOR) * SECTOR
    if needed > core_place.size:
        if not disk.is_to_boot:
            return []
        location = (
            f"partition {core_place.number}" if core_place.number else "the gap before the first partition"
        )
        raise LayoutError(
            f"GRUB's core image has {human_size(needed)}, and {location} {human_size(core_place.size)}",
            hint="let the hook start the first partition at 1 MiB (sector 2048), as sfdisk does by itself",
        )
    lba = core_place.offset // SECTOR
    parts = [
        (
            core_place.offset,
            grub_images.core_image(boot.core, lba=lba, available_sectors=core_place.size // SECTOR),
        ),
        (0, grub_images.boot_sector(boot.boot, sector, core_lba=lba)),
    ]
    if disk.has_early:
        parts.append((grub_cfg.EARLY_LBA * SECTOR, grub_cfg.early(placement)))
    for offset, data in parts:
        target.write(offset, [data])
    return [(offset, len(data)) for offset, data in parts]

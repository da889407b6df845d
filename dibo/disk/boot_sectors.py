"""A whole disk but for its file systems: table, boot sector, core image, and the text that leads it to /boot.

    GPT    0 boot sector   1..33 table                2040 text   2048 partitions; core image in that for it   table
    MBR    0 boot sector   1.. core image             2040 text   2048 partitions

Other modules write the file systems, straight to the same target. Nothing here touches their ranges.
"""

from __future__ import annotations

from dibo.boot.boot_files import MANIFEST, BootFiles
from dibo.disk import grub_cfg
from dibo.errors import LayoutError
from dibo.formats import grub_images
from dibo.formats.sparse import put
from dibo.formats.target import Target
from dibo.layout.model import Flag, Layout, PartitionContent, TableType
from dibo.layout.partition_table import encode_gpt, encode_mbr
from dibo.layout.placement import Placement
from dibo.units import SECTOR

_GAP_LBA = 1
"""With an MBR the core image begins in the second sector (grub-install does so, util/setup.c)."""


def wants_boot_files(layout: Layout) -> bool:
    """Whether anything on the disk comes from the boot files of the root."""
    return _wants_core(layout.table, layout) or any(part.content for part in layout.partitions)


def _wants_core(table: TableType, layout: Layout) -> bool:
    return table is TableType.MBR and any(Flag.BOOTABLE in part.flags for part in layout.partitions)


def write_disk(target: Target, *, placement: Placement, boot: BootFiles) -> None:
    """Write the disk to `target`, which has `placement.size` bytes and reads as zeros but where file systems are.

    Raises LayoutError if the layout needs a boot file that `boot` lacks, or one that does not fit. The table
    is written last: a disk without one is not a disk yet.
    """
    _check_wanted(placement, boot)
    if placement.table is TableType.MBR:
        *records, (_, first_sector) = encode_mbr(placement)
        rest, tail = b"", b""
        tail_offset = placement.size
    else:
        table = encode_gpt(placement)
        records = []
        first_sector, rest = table.head[:SECTOR], table.head[SECTOR:]
        tail_offset, tail = table.tail_offset, table.tail
    core_extent = _core(placement)
    if core_extent is not None and boot.boot is not None and boot.core is not None:
        lba, sectors = core_extent
        first_sector = grub_images.boot_sector(boot.boot, first_sector, core_lba=lba)
        image = grub_images.core_image(boot.core, lba=lba, available_sectors=sectors)
        put(target, lba * SECTOR, image)
    if boot.core is not None or boot.esp or boot.unified:
        early = grub_cfg.early_of_layout(
            placement, with_core=core_extent is not None and boot.core is not None
        )
        put(target, grub_cfg.EARLY_LBA * SECTOR, early)
    for offset, sector in records:
        put(target, offset, sector)
    put(target, 0, first_sector + rest)
    put(target, tail_offset, tail)


def has_core(placement: Placement) -> bool:
    """Whether there is a place for GRUB's core image for BIOS."""
    return _core(placement) is not None


def _core(placement: Placement) -> tuple[int, int] | None:
    """Where GRUB's core image goes, and how many sectors there are."""
    part = placement.holding(PartitionContent.GRUB_CORE)
    if part is not None:
        return part.first_lba, part.sectors
    if placement.table is TableType.MBR and any(
        Flag.BOOTABLE in part.wish.flags for part in placement.partitions
    ):
        return _GAP_LBA, grub_cfg.EARLY_LBA - _GAP_LBA
    return None


def _check_wanted(placement: Placement, boot: BootFiles) -> None:
    hint = f"the flavour that makes the root bootable leaves them there, with {MANIFEST}"
    # A root with files for one firmware alone boots by that one; the partition of the other stays empty.
    if not boot.is_wanted:
        return
    has_bios = boot.boot is not None and boot.core is not None
    has_uefi = bool(boot.esp or boot.unified)
    nothing = boot.boot is None and boot.core is None and not has_uefi
    if _core(placement) is not None and not has_bios and not has_uefi:
        raise LayoutError("the layout needs GRUB's images for BIOS, but the root has none", hint=hint)
    if placement.holding(PartitionContent.ESP) is not None and nothing:
        raise LayoutError(
            "the layout needs files for the EFI system partition, but the root has none", hint=hint
        )
    if (boot.boot is None) != (boot.core is None):
        raise LayoutError("the root has one of GRUB's images for BIOS, and not the other", hint=hint)

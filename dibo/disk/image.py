"""A whole disk but for its root file system: table, boot sector, core image, FATs.

The root file system is written by somebody else, straight to the same target: at `placement.root.offset`,
`placement.root.size` bytes. Nothing here touches that range.
"""

from __future__ import annotations

from dibo.disk import gpt, grub, mbr
from dibo.disk.bootfiles import MANIFEST, BootFiles
from dibo.disk.fat import write_fat
from dibo.disk.partition import Content, FileSystem, Table
from dibo.disk.placement import PlacedPartition, Placement
from dibo.disk.sparse import put
from dibo.disk.target import Target
from dibo.errors import LayoutError
from dibo.units import SECTOR


def write_disk(target: Target, *, placement: Placement, boot: BootFiles, mtime: int) -> None:
    """Write the disk to `target`, which has `placement.size` bytes and reads as zeros until now.

    `mtime` is the time of all files in FATs, in seconds since 1970. Raises LayoutError when the layout wants
    something of the root that `boot` has not, or that does not fit. The table is written last: a disk
    without one is not a disk yet.
    """
    _check_wanted(placement, boot)
    if placement.table is Table.MBR:
        _write_mbr(target, placement, boot, mtime)
        return
    table = gpt.encode(placement)
    first_sector = table.head[:SECTOR]
    core = placement.holding(Content.GRUB_CORE)
    if core is not None and boot.boot is not None and boot.core is not None:
        first_sector = grub.boot_sector(boot.boot, first_sector, core_lba=core.first_lba)
        image = grub.core_image(boot.core, lba=core.first_lba, available_sectors=core.sectors)
        put(target, core.offset, image)
    for partition in placement.partitions:
        if partition.wish.filesystem is FileSystem.VFAT:
            _write_vfat(target, partition, boot, mtime)
    put(target, 0, first_sector + table.head[SECTOR:])
    put(target, table.tail_offset, table.tail)


def _write_mbr(target: Target, placement: Placement, boot: BootFiles, mtime: int) -> None:
    for partition in placement.partitions:
        if partition.wish.filesystem is FileSystem.VFAT:
            _write_vfat(target, partition, boot, mtime)
    for offset, sector in mbr.encode(placement):
        put(target, offset, sector)


def _check_wanted(placement: Placement, boot: BootFiles) -> None:
    hint = f"the flavour that makes the root bootable leaves them there, with {MANIFEST}"
    # A root with files for one firmware alone boots by that one; the partition of the other stays empty.
    has_bios = boot.boot is not None and boot.core is not None
    nothing = boot.boot is None and boot.core is None and not boot.esp
    if placement.holding(Content.GRUB_CORE) is not None and not has_bios and not boot.esp:
        raise LayoutError("the layout wants GRUB's images for BIOS, the root has none", hint=hint)
    if placement.holding(Content.ESP) is not None and nothing:
        raise LayoutError("the layout wants files for the EFI system partition, the root has none", hint=hint)
    if (boot.boot is None) != (boot.core is None):
        raise LayoutError("the root has one of GRUB's images for BIOS, and not the other", hint=hint)


def _write_vfat(target: Target, partition: PlacedPartition, boot: BootFiles, mtime: int) -> None:
    write_fat(
        target,
        offset=partition.offset,
        size=partition.size,
        label=partition.wish.label,
        serial=partition.ids.fat_serial,
        files=boot.esp if partition.wish.content is Content.ESP else {},
        mtime=mtime,
    )

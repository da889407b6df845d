"""The partition table of a placement, as bytes: what is written of a wish in each kind of table."""

from __future__ import annotations

from dibo.formats.partitions import gpt, mbr
from dibo.layout.model import Flag
from dibo.layout.placement import Placement


def encode_gpt(placement: Placement) -> gpt.Gpt:
    """Both copies of the GUID partition table, the first with its protective MBR."""
    sector = placement.sector
    entries = [
        gpt.Entry(
            number=partition.number,
            type_guid=partition.type_guid,
            guid=partition.ids.guid,
            first_lba=partition.offset // sector,
            last_lba=(partition.offset + partition.size) // sector - 1,
            attributes=partition.attributes,
            name=partition.wish.name,
        )
        for partition in placement.partitions
    ]
    return gpt.encode(entries, size=placement.size, disk_guid=placement.disk_guid, sector=sector)


def encode_mbr(placement: Placement) -> list[tuple[int, bytes]]:
    """The sectors of an MBR's table, each with its byte of the disk; sector 0 comes last."""
    entries = [
        mbr.MbrEntry(
            first_lba=partition.first_lba,
            sectors=partition.sectors,
            type_code=partition.type_code,
            active=Flag.BOOTABLE in partition.wish.flags,
            record_lba=partition.record_lba,
        )
        for partition in placement.partitions
    ]
    return mbr.encode(entries, signature=int.from_bytes(placement.disk_guid.bytes[:4], "big"))

"""The partition table of the master boot record, as bytes.

    sector 0                        entry (16 bytes)
      0 boot code, 440 bytes         0 u8 0x80: active     4 u8 type            8 u32 first sector
    440 u32 signature of the disk    1 first sector, CHS   5 last sector, CHS  12 u32 sectors
    446 4 entries
    510 55 aa

Where four entries do not do, the last is an extended partition: a chain of sectors that look like sector 0, one in
front of each logical partition. Its first entry is that partition, counted from here; its second is the next of the
chain, counted from the beginning of the extended partition.

    | MBR |   1   |   2   |   3   | 4: EBR |  5  | EBR |  6  | … |

There is no standard; this is as fdisk of util-linux writes it (libfdisk/src/dos.c). Cylinders, heads and sectors are
for 255 heads and 63 sectors, and 1023, 254, 63 where they do not reach.
"""

from __future__ import annotations

import struct
from typing import Final

from dibo.layout.model import Flag
from dibo.layout.placement import PlacedPartition, Placement
from dibo.units import SECTOR

_ENTRY: Final = struct.Struct("<B3sB3sII").pack
_TABLE: Final = 446
_SIGNATURE: Final = 440
_EXTENDED: Final = 0x0F  # addressed by LBA
_LINK: Final = 0x05
"""Of the chain within it."""
_HEADS, _SECTORS = 255, 63
_MOST_CYLINDERS: Final = 1023


def encode(placement: Placement) -> list[tuple[int, bytes]]:
    """Sectors of the table: the byte of the disk where each goes, and what it is. Sector 0 comes last."""
    primary = [partition for partition in placement.partitions if partition.record_lba is None]
    logical = [partition for partition in placement.partitions if partition.record_lba is not None]
    entries = [_entry(partition, partition.first_lba) for partition in primary]
    found = []
    if logical:
        start, end = logical[0].record_lba or 0, logical[-1].last_lba
        entries.append(_record(0, _EXTENDED, start, end - start + 1, seen_from=0))
        for partition, following in zip(logical, [*logical[1:], None], strict=True):
            here = partition.record_lba or 0
            parts = [_entry(partition, partition.first_lba - here)]
            if following is not None:
                at = following.record_lba or 0
                parts.append(
                    _record(0, _LINK, at, following.last_lba - at + 1, seen_from=start),
                )
            found.append((here * SECTOR, _sector(parts, 0)))
    return [*found, (0, _sector(entries, int.from_bytes(placement.disk_guid.bytes[:4], "big")))]


def _entry(partition: PlacedPartition, relative: int) -> bytes:
    active = 0x80 if Flag.BOOTABLE in partition.wish.flags else 0
    return _record(
        active,
        partition.type_code,
        partition.first_lba,
        partition.sectors,
        seen_from=partition.first_lba - relative,
    )


def _record(active: int, code: int, start: int, sectors: int, *, seen_from: int) -> bytes:
    return _ENTRY(active, _chs(start), code, _chs(start + sectors - 1), start - seen_from, sectors)


def _chs(lba: int) -> bytes:
    cylinder, rest = divmod(lba, _HEADS * _SECTORS)
    head, sector = divmod(rest, _SECTORS)
    if cylinder > _MOST_CYLINDERS:
        cylinder, head, sector = _MOST_CYLINDERS, _HEADS - 1, _SECTORS - 1
    return bytes((head, sector + 1 | cylinder >> 2 & 0xC0, cylinder & 0xFF))


def _sector(entries: list[bytes], signature: int) -> bytes:
    table = b"".join(entries).ljust(64, b"\0")
    return bytes(_SIGNATURE) + struct.pack("<I2x", signature) + table + b"\x55\xaa"

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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dibo.formats import magic
from dibo.units import SECTOR

RECORD: Final = struct.Struct("<B3sB3sII")
"""Mark, first sector and type, last sector as cylinder, head and sector; first sector, sectors."""
RECORDS: Final = 4
TABLE_AT: Final = 446
ACTIVE: Final = 0x80
EXTENDED_TYPES: Final = (0x05, 0x0F, 0x85)
_EXTENDED: Final = 0x0F  # addressed by LBA
_LINK: Final = 0x05
"""Of the chain within it."""
_HEADS, _SECTORS = 255, 63
_MOST_CYLINDERS: Final = 1023


@dataclass(frozen=True, slots=True, kw_only=True)
class MbrEntry:
    """A partition. `record_lba` is the sector that describes a logical one; None for a primary one."""

    first_lba: int
    sectors: int
    type_code: int
    active: bool = False
    record_lba: int | None = None

    @property
    def last_lba(self) -> int:
        return self.first_lba + self.sectors - 1


def encode(entries: Sequence[MbrEntry], *, signature: int) -> list[tuple[int, bytes]]:
    """Sectors of the table: the byte of the disk where each goes, and what it is. Sector 0 comes last. `entries` are in
    the order of the disk, primary ones first; `signature` is the disk's 32-bit identifier."""
    records = [_entry(entry, entry.first_lba) for entry in entries if entry.record_lba is None]
    logical = [(entry, entry.record_lba) for entry in entries if entry.record_lba is not None]
    sectors = []
    if logical:
        start, end = logical[0][1], logical[-1][0].last_lba
        records.append(_record(0, _EXTENDED, start, end - start + 1, seen_from=0))
        for (entry, record_lba), following in zip(logical, [*logical[1:], None], strict=True):
            parts = [_entry(entry, entry.first_lba - record_lba)]
            if following is not None:
                next_entry, next_lba = following
                size = next_entry.last_lba - next_lba + 1
                parts.append(_record(0, _LINK, next_lba, size, seen_from=start))
            sectors.append((record_lba * SECTOR, _sector(parts, 0)))
    return [*sectors, (0, _sector(records, signature))]


def _entry(entry: MbrEntry, relative: int) -> bytes:
    active = ACTIVE if entry.active else 0
    return _record(
        active, entry.type_code, entry.first_lba, entry.sectors, seen_from=entry.first_lba - relative
    )


def _record(active: int, code: int, start: int, sectors: int, *, seen_from: int) -> bytes:
    return RECORD.pack(active, _chs(start), code, _chs(start + sectors - 1), start - seen_from, sectors)


def _chs(lba: int) -> bytes:
    cylinder, rest = divmod(lba, _HEADS * _SECTORS)
    head, sector = divmod(rest, _SECTORS)
    if cylinder > _MOST_CYLINDERS:
        cylinder, head, sector = _MOST_CYLINDERS, _HEADS - 1, _SECTORS - 1
    return bytes((head, sector + 1 | cylinder >> 2 & 0xC0, cylinder & 0xFF))


def _sector(entries: list[bytes], signature: int) -> bytes:
    table = b"".join(entries).ljust(RECORDS * RECORD.size, b"\0")
    return bytes(magic.DISK_SIGNATURE_AT) + struct.pack("<I2x", signature) + table + magic.BOOT_SIGNATURE

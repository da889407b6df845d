"""Where the volumes of a disk are: in a GUID partition table, in an MBR, or the disk itself is one.

Records of an MBR are drawn in mbr.py. A GPT counts if either copy is sound: images are cut, and grown, by tools that
leave the second where it was. Its sectors have 512 bytes, or 4096 if its header is there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Final
from uuid import UUID

from dibo.errors import DiskImageError
from dibo.formats import magic
from dibo.formats.partitions import gpt
from dibo.formats.partitions.mbr import ACTIVE, EXTENDED_TYPES, RECORD, RECORDS, TABLE_AT
from dibo.formats.partitions.protective import is_protective
from dibo.formats.source import Source
from dibo.units import SECTOR

_FIRST_LOGICAL: Final = 5
_MOST_LOGICAL: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionPlace:
    """Of a volume. `number` as Linux counts partitions, 0 for the whole disk; in bytes."""

    number: int
    offset: int
    size: int
    kind: UUID | int | None = None
    """What the table says it is for: of a GPT a UUID, of an MBR a byte."""
    active: bool = False
    """The mark of an MBR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Partitions as the table has them, whether they are on the disk or not."""

    is_gpt: bool
    places: tuple[PartitionPlace, ...]
    free_until: int
    """The byte where the first partition begins; one that holds others counts."""


def places(disk: Source) -> tuple[PartitionPlace, ...]:
    """Partitions as the table has them; those that are not on the disk are left out. Nothing where there is no
    table. Raises DiskImageError for a GPT of which both copies are damaged."""
    partitions = table(disk)
    return () if partitions is None else _on(disk, partitions.places)


def table(disk: Source) -> Table | None:
    """The table; None where there is none. Raises DiskImageError as `places`."""
    if disk.size < 2 * SECTOR:
        return None
    first = disk.read(0, 2 * SECTOR)
    records = [_record(first, index) for index in range(RECORDS)]
    if first[SECTOR - 2 : SECTOR] != magic.BOOT_SIGNATURE:
        records = []
    if first.startswith(magic.GPT, SECTOR) or is_protective(first):
        partitions = _of_gpt(disk)
        return Table(
            is_gpt=True,
            places=tuple(partitions),
            free_until=min((place.offset for place in partitions), default=disk.size),
        )
    if not records or any(record[0] & 0x7F for record in records):
        return None  # a boot sector with something else there
    return Table(
        is_gpt=False,
        places=tuple(_of_mbr(disk, records)),
        free_until=min((first * SECTOR for _, kind, first, _ in records if kind), default=disk.size),
    )


def _on(disk: Source, partitions: tuple[PartitionPlace, ...]) -> tuple[PartitionPlace, ...]:
    return tuple(
        replace(place, size=min(place.size, disk.size - place.offset))
        for place in partitions
        if 0 < place.offset < disk.size and place.size > 0
    )


def _of_gpt(disk: Source) -> list[PartitionPlace]:
    read = partial(_read, disk)
    sector = gpt.sector_of(read(0, magic.HEAD))
    try:
        table = gpt.read_either(read, size=disk.size, sector=sector).table
    except gpt.GptError as error:
        raise DiskImageError(f"the partition table is damaged: {error}") from error
    return [
        PartitionPlace(
            number=entry.number,
            offset=entry.first_lba * sector,
            size=(entry.last_lba - entry.first_lba + 1) * sector,
            kind=entry.type_guid,
        )
        for entry in table.entries
    ]


def _of_mbr(disk: Source, records: list[tuple[int, int, int, int]]) -> list[PartitionPlace]:
    partitions = []
    for number, (mark, kind, first, sectors) in enumerate(records, 1):
        if kind in EXTENDED_TYPES:
            partitions += _logical(disk, first)
        elif kind:
            partitions.append(_place(number, kind, first, sectors, active=mark == ACTIVE))
    return partitions


def _record(sector: bytes, index: int) -> tuple[int, int, int, int]:
    """Mark, type, first sector, sectors."""
    mark, _, kind, _, first, sectors = RECORD.unpack_from(sector, TABLE_AT + RECORD.size * index)
    return mark, kind, first, sectors


def _place(number: int, kind: int, first: int, sectors: int, *, active: bool = False) -> PartitionPlace:
    return PartitionPlace(
        number=number, offset=first * SECTOR, size=sectors * SECTOR, kind=kind, active=active
    )


def _logical(disk: Source, extended: int) -> list[PartitionPlace]:
    partitions: list[PartitionPlace] = []
    seen: set[int] = set()
    here = extended
    while here not in seen and len(partitions) < _MOST_LOGICAL and 0 < here < disk.size // SECTOR:
        seen.add(here)
        sector = disk.read(here * SECTOR, SECTOR)
        if sector[-2:] != magic.BOOT_SIGNATURE:
            break
        _, kind, first, sectors = _record(sector, 0)
        if kind:
            partitions.append(_place(_FIRST_LOGICAL + len(partitions), kind, here + first, sectors))
        _, kind, following, _ = _record(sector, 1)
        if kind not in EXTENDED_TYPES:
            break
        here = extended + following
    return partitions


def _read(disk: Source, offset: int, size: int) -> bytes:
    """Fewer bytes at the end of the disk."""
    size = max(0, min(size, disk.size - offset))
    return disk.read(offset, size) if size else b""

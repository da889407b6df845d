"""The GUID partition table, with its protective MBR, as bytes; and a reader of it.

    sector 0        protective MBR: boot code (left zero here), one partition of type 0xEE over the disk
    sector 1        header: signature, CRCs, where the entries and the other header are, disk GUID
    sectors 2..33   128 entries of 128 bytes: type, GUID, first and last sector, attributes, name
      ...           partitions
    n-33..n-2       the entries again
    n-1             the header again, with its own place and the other's exchanged

    header (92 bytes)                               entry (128 bytes)
     0 "EFI PART"            32 u64 other header     0 GUID type (zero: unused)
     8 u32 revision 1.0      40 u64 first usable    16 GUID of the partition
    12 u32 size of header    48 u64 last usable     32 u64 first sector
    16 u32 CRC of header     56 GUID of the disk    40 u64 last sector, inclusive
    20 u32 zero              72 u64 entries         48 u64 attributes
    24 u64 this header       80 u32 how many        56 UTF-16LE name, 36 units
                             84 u32 size of one
                             88 u32 CRC of entries

All little-endian; GUIDs with their first three fields so, too (`UUID.bytes_le`). The CRC is that of zlib,
of the header with its CRC field zero. UEFI 2.10, 5.2.3 (protective MBR) and 5.3 (GPT).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO
from uuid import UUID

from dibo.errors import LayoutError
from dibo.units import SECTOR

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_SIGNATURE = b"EFI PART"
_REVISION = 0x00010000
_ENTRIES = 128
ENTRIES_SECTORS = 32
"""128 entries of 128 bytes."""
FIRST_USABLE = 2 + ENTRIES_SECTORS
_MAX_ENTRIES_BYTES = 1 << 20  # the specification sets no limit; nobody writes more than a few hundred entries

_MBR_TABLE = 446
_PROTECTIVE = 0xEE


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpt:
    """The bytes at both ends of a disk: `head` from its start, `tail` from byte `tail_offset` to its end."""

    head: bytes
    tail: bytes
    tail_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    number: int
    type_guid: UUID
    guid: UUID
    first_lba: int
    last_lba: int
    attributes: int
    name: str

    @property
    def offset(self) -> int:
        return self.first_lba * SECTOR

    @property
    def size(self) -> int:
        return (self.last_lba - self.first_lba + 1) * SECTOR


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionTable:
    disk_guid: UUID
    first_usable: int
    last_usable: int
    entries: tuple[Entry, ...]


def last_usable(sectors: int) -> int:
    """The last sector that a partition may take on a disk of `sectors` sectors."""
    return sectors - 1 - ENTRIES_SECTORS - 1


def encode(entries: Sequence[Entry], *, size: int, disk_guid: UUID) -> Gpt:
    """Both tables of a disk of `size` bytes, the first with its protective MBR. Entries must be in the order of their
    numbers, from 1 on without a gap."""
    last = size // SECTOR - 1
    raw = b"".join(map(_encode_entry, entries)).ljust(ENTRIES_SECTORS * SECTOR, b"\0")

    def header(*, this: int, other: int, entries_lba: int) -> bytes:
        return _encode_header(raw, this=this, other=other, entries_lba=entries_lba, last=last, guid=disk_guid)

    primary = header(this=1, other=last, entries_lba=2)
    backup = header(this=last, other=1, entries_lba=last - ENTRIES_SECTORS)
    return Gpt(
        head=_protective_mbr(last + 1) + primary + raw,
        tail=raw + backup,
        tail_offset=(last - ENTRIES_SECTORS) * SECTOR,
    )


def _protective_mbr(sectors: int) -> bytes:
    first_chs, last_chs = b"\x00\x02\x00", b"\xff\xff\xff"  # sector 1; "cannot be said in CHS" (table 5.4)
    record = struct.pack("<B3sB3sII", 0, first_chs, _PROTECTIVE, last_chs, 1, min(sectors - 1, 0xFFFFFFFF))
    return bytes(_MBR_TABLE) + record.ljust(64, b"\0") + b"\x55\xaa"


def _encode_entry(entry: Entry) -> bytes:
    return _ENTRY.pack(
        entry.type_guid.bytes_le,
        entry.guid.bytes_le,
        entry.first_lba,
        entry.last_lba,
        entry.attributes,
        entry.name.encode("utf-16-le"),
    )


def _encode_header(
    entries: bytes, *, this: int, other: int, entries_lba: int, last: int, guid: UUID
) -> bytes:
    """`last` is the disk's last sector."""

    def pack(crc: int) -> bytes:
        return _HEADER.pack(
            _SIGNATURE,
            _REVISION,
            _HEADER.size,
            crc,
            0,
            this,
            other,
            FIRST_USABLE,
            last_usable(last + 1),
            guid.bytes_le,
            entries_lba,
            _ENTRIES,
            _ENTRY.size,
            zlib.crc32(entries),
        )

    return pack(zlib.crc32(pack(0))).ljust(SECTOR, b"\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    table: PartitionTable
    gpt: Gpt
    """`head` is the first two sectors: entries stay where they are."""
    old_tail: tuple[int, int]
    """Where the second copy was, in bytes from and up to."""


def fitted(head: bytes, *, size: int) -> Fitted:
    """The table at the beginning of a disk, as it is on a disk of `size` bytes: the second copy at its end, and all up
    to there usable; on a disk of the same size as it was. Whatever else a header has is kept. `head` must reach to the
    end of the entries. Raises LayoutError for a damaged table.
    """
    table, other = _decode_copy(io.BytesIO(head), lba=1)
    sector = head[SECTOR : 2 * SECTOR]
    fields = list(_HEADER.unpack_from(sector))
    entries_lba, count, entry_size = fields[10:13]
    entries = head[entries_lba * SECTOR :][: count * entry_size]
    entries_sectors = -(-len(entries) // SECTOR)
    last = size // SECTOR - 1

    def header(*, this: int, that: int, entries_at: int) -> bytes:
        usable = fields[8] if other == last else last - entries_sectors - 1
        changed = [
            *fields[:3],
            0,
            fields[4],
            this,
            that,
            fields[7],
            usable,
            fields[9],
            entries_at,
            *fields[11:],
        ]
        rest = sector[_HEADER.size : fields[2]]
        changed[3] = zlib.crc32(_HEADER.pack(*changed) + rest)
        return (_HEADER.pack(*changed) + rest).ljust(SECTOR, b"\0")

    start = last - entries_sectors
    tail = entries.ljust(entries_sectors * SECTOR, b"\0") + header(this=last, that=1, entries_at=start)
    first = _stretched(head[:SECTOR], last) + header(this=1, that=last, entries_at=entries_lba)
    return Fitted(
        table=table,
        gpt=Gpt(head=first, tail=tail, tail_offset=start * SECTOR),
        old_tail=((other - entries_sectors) * SECTOR, (other + 1) * SECTOR),
    )


def _stretched(mbr: bytes, last: int) -> bytes:
    """The protective MBR of a larger disk. One with other partitions, too, stays as it is."""
    kinds = mbr[_MBR_TABLE + 4 : -2 : 16]
    if sorted(kinds) != [0, 0, 0, _PROTECTIVE]:
        return mbr
    at = _MBR_TABLE + 16 * kinds.index(_PROTECTIVE) + 12
    return mbr[:at] + struct.pack("<I", min(last, 0xFFFFFFFF)) + mbr[at + 4 :]


def decode(source: BinaryIO) -> PartitionTable:
    """The table of a disk image: both copies are read, checked, and must say the same.

    Raises LayoutError for anything that a careful reader would not use.
    """
    mbr = _read(source, 0, SECTOR)
    if mbr[-2:] != b"\x55\xaa" or _PROTECTIVE not in mbr[_MBR_TABLE + 4 : -2 : 16]:
        raise LayoutError("no GUID partition table: sector 0 holds no protective MBR")
    primary, other = _decode_copy(source, lba=1)
    backup, back = _decode_copy(source, lba=other)
    if back != 1 or backup != primary:
        raise LayoutError("the two copies of the partition table differ")
    return primary


def decode_either(source: BinaryIO, *, last: int) -> PartitionTable:
    """The table of a disk that somebody else made, from whichever copy is sound; `last` is the disk's last sector.

    Raises LayoutError when neither is.
    """
    try:
        return _decode_copy(source, lba=1)[0]
    except LayoutError as error:
        try:
            return _decode_copy(source, lba=last)[0]
        except LayoutError:
            raise error from None


def _decode_copy(source: BinaryIO, *, lba: int) -> tuple[PartitionTable, int]:
    """One copy, and the sector where it says that the other one is."""
    sector = _read(source, lba * SECTOR, SECTOR)
    fields = _HEADER.unpack_from(sector)
    (
        signature,
        _,
        header_size,
        crc,
        _,
        this,
        other,
        first,
        last,
        guid,
        entries_lba,
        count,
        size,
        crc_entries,
    ) = fields
    if signature != _SIGNATURE or not _HEADER.size <= header_size <= SECTOR:
        raise LayoutError(f"no header of a GUID partition table in sector {lba}")
    if zlib.crc32(sector[:16] + bytes(4) + sector[20:header_size]) != crc or this != lba:
        raise LayoutError(f"the header of the partition table in sector {lba} is damaged")
    if size < _ENTRY.size or size % 8 or not 0 < count * size <= _MAX_ENTRIES_BYTES:
        raise LayoutError(f"the partition table in sector {lba} has {count} entries of {size} bytes")
    raw = _read(source, entries_lba * SECTOR, count * size)
    if zlib.crc32(raw) != crc_entries:
        raise LayoutError(f"the entries of the partition table in sector {lba} are damaged")
    entries = tuple(
        entry
        for number in range(1, count + 1)
        if (entry := _decode_entry(raw, (number - 1) * size, number)) is not None
    )
    _check_entries(entries, first, last)
    table = PartitionTable(
        disk_guid=UUID(bytes_le=guid), first_usable=first, last_usable=last, entries=entries
    )
    return table, other


def _decode_entry(raw: bytes, offset: int, number: int) -> Entry | None:
    kind, guid, first, last, attributes, name = _ENTRY.unpack_from(raw, offset)
    if kind == bytes(16):
        return None
    return Entry(
        number=number,
        type_guid=UUID(bytes_le=kind),
        guid=UUID(bytes_le=guid),
        first_lba=first,
        last_lba=last,
        attributes=attributes,
        name=name.decode("utf-16-le", errors="replace").split("\0")[0],
    )


def _check_entries(entries: tuple[Entry, ...], first: int, last: int) -> None:
    free = first
    for entry in sorted(entries, key=lambda entry: entry.first_lba):
        if not free <= entry.first_lba <= entry.last_lba <= last:
            raise LayoutError(
                f"partition {entry.number} covers sectors {entry.first_lba} to {entry.last_lba},"
                f" outside of what is usable or inside another partition"
            )
        free = entry.last_lba + 1


def _read(source: BinaryIO, offset: int, size: int) -> bytes:
    source.seek(offset)
    data = source.read(size)
    if len(data) != size:
        raise LayoutError(f"the disk image ends before byte {offset + size}, inside its partition table")
    return data

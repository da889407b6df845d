"""The GUID partition table, with its protective MBR, as bytes; and readers of it.

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

The ramdisk's pull program bundles this module: standard library, magic and protective only, as of Python 3.10.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple
from uuid import UUID

from dibo.formats import magic
from dibo.formats.partitions.protective import is_protective, protective_mbr, stretched

SECTOR = 512
_COARSE = 4096  # the other size of sectors that disks have (4Kn)
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_REVISION = 0x00010000
_ENTRIES = 128
ENTRIES_SECTORS = 32
"""128 entries of 128 bytes."""
_ENTRIES_BYTES = ENTRIES_SECTORS * SECTOR
FIRST_USABLE = 2 + ENTRIES_SECTORS
_MAX_ENTRIES_BYTES = 1 << 20  # the specification sets no limit; nobody writes more than a few hundred entries
_LEAST_SECTORS = 2 * (ENTRIES_SECTORS + 1) + 2

Read = Callable[[int, int], bytes]
"""`read(offset, size)`: bytes of a disk; fewer where it ends."""


class GptError(ValueError):
    """A table that a careful reader would not use."""


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

    @property
    def end(self) -> int:
        """The byte after the last."""
        return (self.last_lba + 1) * SECTOR


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionTable:
    disk_guid: UUID
    first_usable: int
    last_usable: int
    entries: tuple[Entry, ...]


class _Header(NamedTuple):
    """The fields of a header, in their order."""

    signature: bytes
    revision: int
    header_size: int
    header_crc: int
    reserved: int
    this_lba: int
    other_lba: int
    first_usable: int
    last_usable: int
    disk_guid: bytes
    entries_lba: int
    entry_count: int
    entry_size: int
    entries_crc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One copy of a table as it lies on a disk: what it says, and its bytes, so that whatever else is in them is kept
    when the table is written for another disk."""

    table: PartitionTable
    mbr: bytes
    header: bytes
    """As long as it says that it is."""
    raw_entries: bytes

    @property
    def entries_offset(self) -> int:
        """Where the first copy has its entries; a second copy does not say, and then they follow the header."""
        header = self._fields
        return (header.entries_lba if header.this_lba == 1 else 2) * SECTOR

    @property
    def other_lba(self) -> int:
        """The sector of the other copy's header."""
        return self._fields.other_lba

    @property
    def backup(self) -> tuple[int, int]:
        """First byte, and the byte after the last, of the second copy as the first has it."""
        end = (self.other_lba + 1) * SECTOR
        return end - SECTOR - self.entries_sectors * SECTOR, end

    @property
    def entries_sectors(self) -> int:
        return -(-len(self.raw_entries) // SECTOR)

    @property
    def _fields(self) -> _Header:
        return _Header._make(_HEADER.unpack_from(self.header))


def sector_of(head: bytes) -> int:
    """The bytes of a sector as the table of a disk that begins so counts them: those of its header's place."""
    coarse = head.startswith(magic.GPT, _COARSE) and not head.startswith(magic.GPT, SECTOR)
    return _COARSE if coarse else SECTOR


def last_usable(sectors: int, *, sector: int = SECTOR) -> int:
    """The last sector that a partition may take on a disk of `sectors` sectors of `sector` bytes."""
    return sectors - 1 - _ENTRIES_BYTES // sector - 1


def encode(entries: Sequence[Entry], *, size: int, disk_guid: UUID, sector: int = SECTOR) -> Gpt:
    """Both tables of a disk of `size` bytes with sectors of `sector` bytes, which entries count in; the first with its
    protective MBR. Entries must be in the order of their numbers, from 1 on without a gap."""
    last = size // sector - 1
    entries_sectors = _ENTRIES_BYTES // sector
    raw = b"".join(map(_encode_entry, entries)).ljust(_ENTRIES_BYTES, b"\0")

    def header(*, this: int, other: int, entries_lba: int) -> bytes:
        fields = _Header(
            signature=magic.GPT,
            revision=_REVISION,
            header_size=_HEADER.size,
            header_crc=0,
            reserved=0,
            this_lba=this,
            other_lba=other,
            first_usable=2 + entries_sectors,
            last_usable=last_usable(last + 1, sector=sector),
            disk_guid=disk_guid.bytes_le,
            entries_lba=entries_lba,
            entry_count=_ENTRIES,
            entry_size=_ENTRY.size,
            entries_crc=zlib.crc32(raw),
        )
        return _sealed(fields).ljust(sector, b"\0")

    primary = header(this=1, other=last, entries_lba=2)
    backup = header(this=last, other=1, entries_lba=last - entries_sectors)
    return Gpt(
        head=protective_mbr(last + 1).ljust(sector, b"\0") + primary + raw,
        tail=raw + backup,
        tail_offset=(last - entries_sectors) * sector,
    )


def fit(copy: Copy, size: int) -> Gpt:
    """The table as it is on a disk of `size` bytes: the second copy at its end, and all up to there usable; on a disk
    of the same size as it was. Whatever else a header has is kept. `head` is the first two sectors; the entries go to
    `copy.entries_offset` as they are."""
    last = size // SECTOR - 1
    start = last - copy.entries_sectors
    fields = copy._fields
    if fields.other_lba != last or fields.this_lba != 1:
        fields = fields._replace(last_usable=start - 1)
    rest = copy.header[_HEADER.size :]
    entries_lba = copy.entries_offset // SECTOR
    first = _sealed(fields._replace(this_lba=1, other_lba=last, entries_lba=entries_lba), rest)
    second = _sealed(fields._replace(this_lba=last, other_lba=1, entries_lba=start), rest)
    return Gpt(
        head=stretched(copy.mbr, last) + first,
        tail=copy.raw_entries.ljust(copy.entries_sectors * SECTOR, b"\0") + second,
        tail_offset=start * SECTOR,
    )


def only(copy: Copy, entry: Entry, *, boot_code: bytes) -> Copy:
    """The same table with that one partition, as its first, and with another boot code."""
    fields = copy._fields
    start = (entry.number - 1) * fields.entry_size
    raw = copy.raw_entries[start : start + fields.entry_size].ljust(len(copy.raw_entries), b"\0")
    fields = fields._replace(entries_crc=zlib.crc32(raw))
    header = _sealed(fields, copy.header[_HEADER.size :])[: len(copy.header)]
    table = PartitionTable(
        disk_guid=copy.table.disk_guid,
        first_usable=copy.table.first_usable,
        last_usable=copy.table.last_usable,
        entries=(_decode_entry(raw, 0, 1) or entry,),
    )
    return Copy(table=table, mbr=protective_mbr(1, boot_code=boot_code), header=header, raw_entries=raw)


def with_guids(
    head: bytes, *, sector: int, of_partition: Callable[[int], UUID], of_disk: Callable[[], UUID]
) -> bytes:
    """`head` reaches to the end of the table's entries on a disk with sectors of `sector` bytes: the same with other
    GUIDs, `of_partition` by number, and the checksums that go with them. An invalid header stays as it
    is."""
    fields = _Header._make(_HEADER.unpack_from(head, sector))
    if not _HEADER.size <= fields.header_size <= SECTOR or not _are_plausible(fields):
        return head
    changed = bytearray(head)
    start = fields.entries_lba * sector
    end = start + fields.entry_count * fields.entry_size
    if end > len(head):
        return head
    for number, offset in enumerate(range(start, end, fields.entry_size), 1):
        kind, _, *rest = _ENTRY.unpack_from(head, offset)
        if any(kind):
            _ENTRY.pack_into(changed, offset, kind, of_partition(number).bytes_le, *rest)
    fields = fields._replace(disk_guid=of_disk().bytes_le, entries_crc=zlib.crc32(changed[start:end]))
    header = _sealed(fields, head[sector + _HEADER.size : sector + fields.header_size])
    changed[sector : sector + fields.header_size] = header[: fields.header_size]
    return bytes(changed)


def _are_plausible(fields: _Header) -> bool:
    """Whether the entries have a size that a reader takes."""
    count, size = fields.entry_count, fields.entry_size
    return size >= _ENTRY.size and not size % 8 and 0 < count * size <= _MAX_ENTRIES_BYTES


def _sealed(fields: _Header, rest: bytes = b"") -> bytes:
    """A header with the CRC that goes with it, padded to a sector. `rest` is what it has beyond the known fields."""
    crc = zlib.crc32(_HEADER.pack(*fields._replace(header_crc=0)) + rest)
    return (_HEADER.pack(*fields._replace(header_crc=crc)) + rest).ljust(SECTOR, b"\0")


def _encode_entry(entry: Entry) -> bytes:
    return _ENTRY.pack(
        entry.type_guid.bytes_le,
        entry.guid.bytes_le,
        entry.first_lba,
        entry.last_lba,
        entry.attributes,
        entry.name.encode("utf-16-le"),
    )


def claims_one(head: bytes) -> bool:
    """Whether a disk that begins so claims to have a table, sound or not."""
    return head.startswith(magic.GPT, SECTOR) or is_protective(head)


def decode(source: BinaryIO) -> PartitionTable:
    """The table of a disk image: both copies are read, checked, and must say the same.

    Raises GptError for anything that a careful reader would not use.
    """

    def read(offset: int, size: int) -> bytes:
        source.seek(offset)
        return source.read(size)

    if not is_protective(_read(read, 0, SECTOR)):
        raise GptError("no GUID partition table: sector 0 holds no protective MBR")
    primary = read_copy(read, lba=1)
    backup = read_copy(read, lba=primary.other_lba)
    if backup.other_lba != 1 or backup.table != primary.table:
        raise GptError("the two copies of the partition table differ")
    return primary.table


def read_either(read: Read, *, size: int, sector: int = SECTOR) -> Copy:
    """The table of a foreign disk of `size` bytes with sectors of `sector` bytes, from whichever copy is sound. Raises
    GptError when neither is."""
    try:
        return read_copy(read, lba=1, sector=sector)
    except GptError as error:
        try:
            return read_copy(read, lba=max(size // sector - 1, 1), sector=sector)
        except GptError:
            raise error from None


def read_disk(read: Read, *, size: int) -> Copy | None:
    """The same; None for a disk that does not claim to have a table, or is too small for one."""
    if size // SECTOR < _LEAST_SECTORS:
        return None
    try:
        return read_either(read, size=size)
    except GptError as error:
        if claims_one(read(0, 2 * SECTOR)):
            raise GptError(f"{error}, and so is its copy at the end") from error
        return None


def read_copy(read: Read, *, lba: int, sector: int = SECTOR) -> Copy:
    """The copy whose header is in sector `lba`, of `sector` bytes. Raises GptError unless it is sound."""
    start = _read(read, lba * sector, SECTOR)
    fields = _Header._make(_HEADER.unpack_from(start))
    if fields.signature != magic.GPT or not _HEADER.size <= fields.header_size <= SECTOR:
        raise GptError(f"no header of a GUID partition table in sector {lba}")
    header = start[: fields.header_size]
    if (
        zlib.crc32(_HEADER.pack(*fields._replace(header_crc=0)) + header[_HEADER.size :]) != fields.header_crc
        or fields.this_lba != lba
    ):
        raise GptError(f"the header of the partition table in sector {lba} is damaged")
    count, size = fields.entry_count, fields.entry_size
    if not _are_plausible(fields):
        raise GptError(f"the partition table in sector {lba} has {count} entries of {size} bytes")
    raw = _read(read, fields.entries_lba * sector, count * size)
    if zlib.crc32(raw) != fields.entries_crc:
        raise GptError(f"the entries of the partition table in sector {lba} are damaged")
    decoded = (_decode_entry(raw, (number - 1) * size, number) for number in range(1, count + 1))
    entries = tuple(entry for entry in decoded if entry is not None)
    _check_entries(entries, fields.first_usable, fields.last_usable)
    table = PartitionTable(
        disk_guid=UUID(bytes_le=fields.disk_guid),
        first_usable=fields.first_usable,
        last_usable=fields.last_usable,
        entries=entries,
    )
    return Copy(table=table, mbr=_read(read, 0, SECTOR), header=header, raw_entries=raw)


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
            raise GptError(
                f"partition {entry.number} covers sectors {entry.first_lba} to {entry.last_lba},"
                f" outside of what is usable or inside another partition"
            )
        free = entry.last_lba + 1


def _read(read: Read, offset: int, size: int) -> bytes:
    data = read(offset, size)
    if len(data) != size:
        raise GptError(f"the disk ends before byte {offset + size}, inside its partition table")
    return data

"""The GUID partition table of the disk and of the image (UEFI specification 2.10, 5.2.3 and 5.3).

sector 0    protective MBR        header: 0 "EFI PART"  12 u32 its size      40 u64 first usable   80 u32 entries
sector 1    header                       16 u32 CRC     24 u64 this header   48 u64 last usable    84 u32 their size
2..33       entries                      32 u64 the other one                72 u64 entries        88 u32 their CRC
n-33..n-1   entries, header       entry:  0 type  16 GUID  32 u64 first  40 u64 last  48 u64 attributes  56 name
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pull.errors import PullError

SECTOR = 512
STATE = "persistent-state"
"""The name of the partition that a deployment keeps."""
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_CRC, _THIS, _OTHER, _LAST_USABLE, _ENTRIES_AT, _CRC_ENTRIES = 3, 5, 6, 8, 10, 13
_ENTRY = struct.Struct("<16s16sQQQ72s")
_SIGNATURE = b"EFI PART"
_MBR_TABLE = 446
_PROTECTIVE = 0xEE
_MOST = 1 << 20
_NO_BOOT = b"\xcd\x18\xf4\xeb\xfd"
"""`int 18h` tells a BIOS to try its next device; then hlt, for ever."""


@dataclass(frozen=True)
class Part:
    """A partition. In bytes; `entry` is what the table has."""

    name: str
    offset: int
    size: int
    entry: bytes

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True)
class Table:
    mbr: bytes
    header: bytes
    """As long as it says that it is."""
    entries: bytes
    parts: tuple[Part, ...]

    @property
    def state(self) -> Part | None:
        """The persistent-state partition. Raises PullError where there are two."""
        found = [part for part in self.parts if part.name == STATE]
        if len(found) > 1:
            raise PullError(f"a partition table has {len(found)} partitions with the name {STATE}")
        return found[0] if found else None

    @property
    def backup(self) -> tuple[int, int]:
        """(first byte, byte after the last) of the second copy, as the first has it."""
        other: int = _HEADER.unpack_from(self.header)[_OTHER]
        return (other + 1) * SECTOR - self.tail_size, (other + 1) * SECTOR

    @property
    def tail_size(self) -> int:
        return -(-len(self.entries) // SECTOR) * SECTOR + SECTOR


Read = Callable[[int, int], bytes]


def is_one(head: bytes) -> bool:
    """Whether a disk that begins so claims to have one."""
    return head[SECTOR : SECTOR + 8] == _SIGNATURE or (
        head[510:512] == b"\x55\xaa" and any(head[_MBR_TABLE + 4 + 16 * n] == _PROTECTIVE for n in range(4))
    )


def of_image(head: bytes) -> Table | None:
    """Of an image that begins so; None where it has another table or none. Raises PullError for a damaged one."""
    if len(head) < 2 * SECTOR or not is_one(head):
        return None
    return _copy(lambda offset, size: head[offset : offset + size], 1)


def of_disk(read: Read, size: int) -> Table | None:
    """Of a disk: the first copy, or else the second. None where there is none. Raises PullError where both are
    damaged."""
    sectors = size // SECTOR
    if sectors < 68:
        return None
    try:
        return _copy(read, 1)
    except PullError as error:
        try:
            return _copy(read, sectors - 1)
        except PullError:
            if is_one(read(0, 2 * SECTOR)):
                raise PullError(f"{error}, and so is its copy at the end") from error
            return None


def _copy(read: Read, sector: int) -> Table:
    raw = read(sector * SECTOR, SECTOR).ljust(SECTOR, b"\0")
    signature, _, length, crc, _, this, _, _, _, _, at, count, size, crc_entries = _HEADER.unpack_from(raw)
    sound = (
        signature == _SIGNATURE
        and _HEADER.size <= length <= SECTOR
        and zlib.crc32(raw[:16] + bytes(4) + raw[20:length]) == crc
        and this == sector
        and size >= _ENTRY.size
        and 0 < count * size <= _MOST
    )
    entries = read(at * SECTOR, count * size) if sound else b""
    if not sound or len(entries) != count * size or zlib.crc32(entries) != crc_entries:
        raise PullError("the partition table is damaged")
    parts = []
    for start in range(0, count * size, size):
        kind, _, first, last, _, name = _ENTRY.unpack_from(entries, start)
        if any(kind) and first <= last:
            text = name.decode("utf-16-le", errors="replace").split("\0")[0]
            entry = entries[start : start + size]
            parts.append(Part(text, first * SECTOR, (last - first + 1) * SECTOR, entry))
    return Table(mbr=read(0, SECTOR), header=raw[:length], entries=entries, parts=tuple(parts))


def for_disk(table: Table, size: int) -> tuple[tuple[int, bytes], ...]:
    """(offset, bytes) of this table on a disk of `size` bytes, the first sectors last: the second copy at the disk's
    end, and all up to there usable. The same as it was where the table was made for that size."""
    last = size // SECTOR - 1
    entries_sectors = table.tail_size // SECTOR - 1
    fields = list(_HEADER.unpack_from(table.header))
    at = fields[_ENTRIES_AT] if fields[_THIS] == 1 else 2
    if fields[_OTHER] != last:
        fields[_LAST_USABLE] = last - entries_sectors - 1
    fields[_THIS], fields[_OTHER], fields[_ENTRIES_AT] = 1, last, at
    first = _sealed(table.header, fields)
    fields[_THIS], fields[_OTHER], fields[_ENTRIES_AT] = last, 1, last - entries_sectors
    second = _sealed(table.header, fields)
    padded = table.entries.ljust(entries_sectors * SECTOR, b"\0")
    return (
        ((last - entries_sectors) * SECTOR, padded + second),
        (at * SECTOR, table.entries),
        (0, _protective(table.mbr, last) + first),
    )


def only_state(table: Table, state: Part, size: int) -> tuple[tuple[int, bytes], ...]:
    """The same of a table with that one partition: a disk under way, from which nothing boots, and on which the next
    deployment finds what to keep."""
    entries = state.entry.ljust(len(table.entries), b"\0")
    fields = list(_HEADER.unpack_from(table.header))
    fields[_CRC_ENTRIES] = zlib.crc32(entries)
    mbr = bytearray(SECTOR)
    mbr[: len(_NO_BOOT)] = _NO_BOOT
    mbr[_MBR_TABLE : _MBR_TABLE + 16] = struct.pack("<B3sB3sII", 0, b"\0\2\0", _PROTECTIVE, b"\xff" * 3, 1, 0)
    mbr[510:] = b"\x55\xaa"
    bare = Table(
        mbr=bytes(mbr),
        header=_sealed(table.header, fields)[: len(table.header)],
        entries=entries,
        parts=(state,),
    )
    return for_disk(bare, size)


def _sealed(header: bytes, fields: list[Any]) -> bytes:
    """A header with these fields and the CRC that goes with them, padded to a sector."""
    rest = header[_HEADER.size :]
    fields[_CRC] = 0
    fields[_CRC] = zlib.crc32(_HEADER.pack(*fields) + rest)
    return (_HEADER.pack(*fields) + rest).ljust(SECTOR, b"\0")


def _protective(mbr: bytes, last: int) -> bytes:
    """The MBR with its protective record over the whole disk; a hybrid one, with other records, is left as it is."""
    kinds = [mbr[_MBR_TABLE + 4 + 16 * number] for number in range(4)]
    if sorted(kinds) != [0, 0, 0, _PROTECTIVE]:
        return mbr
    at = _MBR_TABLE + 16 * kinds.index(_PROTECTIVE) + 12
    return mbr[:at] + struct.pack("<I", min(last, 0xFFFFFFFF)) + mbr[at + 4 :]

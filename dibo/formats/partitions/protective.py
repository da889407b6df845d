"""The protective MBR: one partition of type 0xEE over a disk with a GPT (UEFI 2.10, 5.2.3).

Bundled by the ramdisk's pull program, as gpt is.
"""

from __future__ import annotations

import struct

from dibo.formats import magic

_SECTOR = 512
_RECORD = struct.Struct("<B3sB3sII")
_TABLE = 446
_RECORDS = 4
_PROTECTIVE = 0xEE


def protective_mbr(sectors: int, *, boot_code: bytes = b"") -> bytes:
    """Sector 0 of a disk of `sectors` sectors."""
    first_chs, last_chs = b"\x00\x02\x00", b"\xff\xff\xff"  # sector 1; "cannot be said in CHS" (table 5.4)
    record = _RECORD.pack(0, first_chs, _PROTECTIVE, last_chs, 1, min(sectors - 1, 0xFFFFFFFF))
    return boot_code.ljust(_TABLE, b"\0") + record.ljust(64, b"\0") + magic.BOOT_SIGNATURE


def stretched(mbr: bytes, last: int) -> bytes:
    """The protective MBR of a larger disk. A hybrid one, with other partitions, stays as it is."""
    kinds = _record_types(mbr)
    if sorted(kinds) != [0, 0, 0, _PROTECTIVE]:
        return mbr
    record_at = _TABLE + _RECORD.size * kinds.index(_PROTECTIVE)
    sectors_at = record_at + _RECORD.size - 4
    return mbr[:sectors_at] + struct.pack("<I", min(last, 0xFFFFFFFF)) + mbr[sectors_at + 4 :]


def is_protective(mbr: bytes) -> bool:
    """Whether sector 0 says that a GPT follows."""
    return (
        len(mbr) >= _SECTOR
        and mbr.startswith(magic.BOOT_SIGNATURE, magic.BOOT_SIGNATURE_AT)
        and _PROTECTIVE in _record_types(mbr)
    )


def _record_types(mbr: bytes) -> list[int]:
    return [_RECORD.unpack_from(mbr, _TABLE + _RECORD.size * index)[2] for index in range(_RECORDS)]

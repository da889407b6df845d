"""Identifiers of its own for each disk that an image is written to.

Two disks of one image have the same disk GUID and partition GUIDs, so nothing can tell them apart in one machine.
Whoever writes an image to a disk replaces them, where the image says that nothing in it refers to them: MARK stands at
byte MARK_OFFSET, in sectors that no partition covers. A disk with an MBR has one identifier, its signature; the kernel
derives the PARTUUID of each partition from it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID, uuid4

from dibo.formats import magic

MARK: Final = b"# dibo: a deployment may replace the identifiers of this disk\n"
MARK_OFFSET: Final = 2040 * 512
_HEADER: Final = struct.Struct("<8sIIIIQQQQ16sQIII")
_SECTORS: Final = (512, 4096)
_MBR_SIGNATURE: Final = 440
_DISK_GUID_OFFSET, _GUID_OFFSET, _GUID_SIZE = 56, 16, 16


def are_replaceable(head: bytes) -> bool:
    """Whether the image that begins with `head` says so."""
    return head[MARK_OFFSET:].startswith(MARK)


def replaced(
    head: bytes, *, kept: Mapping[int, UUID] | None = None, draw: Callable[[], UUID] = uuid4
) -> bytes:
    """`head`, which reaches to the end of the table's entries, with other identifiers; unchanged where the image does
    not allow it. `kept` has the GUIDs of partitions that stay what they are, by number. The second copy of the table
    does not agree until it is written anew, too.
    """
    if not are_replaceable(head):
        return head
    for sector in _SECTORS:
        if head[sector:].startswith(magic.GPT):
            return _of_gpt(bytearray(head), sector, kept or {}, draw)
    if not head.startswith(magic.BOOT_SIGNATURE, magic.BOOT_SIGNATURE_AT):
        return head
    return head[:_MBR_SIGNATURE] + draw().bytes[:4] + head[_MBR_SIGNATURE + 4 :]


def _of_gpt(head: bytearray, sector: int, kept: Mapping[int, UUID], draw: Callable[[], UUID]) -> bytes:
    fields = _HEADER.unpack_from(head, sector)
    header_size, (entries_lba, count, entry_size) = fields[2], fields[10:13]
    start = entries_lba * sector
    for number in range(1, count + 1):
        offset = start + (number - 1) * entry_size
        if any(head[offset : offset + _GUID_SIZE]):
            guid = kept[number] if number in kept else draw()
            head[offset + _GUID_OFFSET : offset + _GUID_OFFSET + _GUID_SIZE] = guid.bytes_le
    head[sector + _DISK_GUID_OFFSET : sector + _DISK_GUID_OFFSET + _GUID_SIZE] = draw().bytes_le
    struct.pack_into("<I", head, sector + 88, zlib.crc32(head[start : start + count * entry_size]))
    struct.pack_into("<I", head, sector + 16, 0)
    struct.pack_into("<I", head, sector + 16, zlib.crc32(head[sector : sector + header_size]))
    return bytes(head)

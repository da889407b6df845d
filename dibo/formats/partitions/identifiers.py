"""Identifiers of its own for each disk that an image is written to.

Two disks of one image have the same disk GUID and partition GUIDs, so nothing can tell them apart in one machine.
Programs that write an image to a disk replace them, if the image says that nothing in it refers to them: MARK is at
byte MARK_OFFSET, in sectors that no partition covers. A disk with an MBR has one identifier, its signature; the kernel
derives the PARTUUID of each partition from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID, uuid4

from dibo.formats import magic
from dibo.formats.partitions import gpt

MARK: Final = b"# dibo: a deployment may replace the identifiers of this disk\n"
MARK_OFFSET: Final = 2040 * 512
_SECTORS: Final = (512, 4096)


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
    unchanged = kept or {}

    def guid_of(number: int) -> UUID:
        return unchanged[number] if number in unchanged else draw()

    for sector in _SECTORS:
        if head[sector:].startswith(magic.GPT):
            return gpt.with_guids(
                head,
                sector=sector,
                of_partition=guid_of,
                of_disk=draw,
            )
    if not head.startswith(magic.BOOT_SIGNATURE, magic.BOOT_SIGNATURE_AT):
        return head
    start = magic.DISK_SIGNATURE_AT
    return head[:start] + draw().bytes[:4] + head[start + 4 :]

"""The partition that a deployment keeps, in GUID partition tables of the disk and of the image."""

from __future__ import annotations

from dibo.formats.partitions.gpt import (
    SECTOR,
    Copy,
    Entry,
    GptError,
    Read,
    claims_one,
    fit,
    only,
    read_copy,
    read_disk,
    sector_of,
)
from pull.errors import PullError

__all__ = [
    "SECTOR",
    "STATE",
    "Copy",
    "Entry",
    "Read",
    "end_of",
    "for_disk",
    "of_disk",
    "of_image",
    "only_state",
    "sector_of",
    "state_of",
]

STATE = "persistent-state"
"""The name of the partition that a deployment keeps."""
_NO_BOOT = b"\xcd\x18\xf4\xeb\xfd"
"""`int 18h` tells a BIOS to try its next device; then hlt, for ever."""


def of_image(head: bytes) -> Copy | None:
    """Of an image that begins so; None where it has another table or none. Raises PullError for a damaged one."""
    if len(head) < 2 * SECTOR or not claims_one(head):
        return None
    try:
        return read_copy(lambda offset, size: head[offset : offset + size], lba=1)
    except GptError as error:
        raise PullError(f"the partition table is damaged: {error}") from error


def of_disk(read: Read, size: int) -> Copy | None:
    """Of a disk: the first copy, or else the second. None where there is none. Raises PullError where both are
    damaged."""
    try:
        return read_disk(read, size=size)
    except GptError as error:
        raise PullError(f"the partition table is damaged: {error}") from error


def state_of(table: Copy) -> Entry | None:
    """The persistent-state partition. Raises PullError where there are two."""
    named = [entry for entry in table.table.entries if entry.name == STATE]
    if len(named) > 1:
        raise PullError(f"a partition table has {len(named)} partitions with the name {STATE}")
    return named[0] if named else None


def end_of(table: Copy) -> int:
    """The byte where the last partition ends."""
    return max((entry.end for entry in table.table.entries), default=0)


def for_disk(table: Copy, size: int) -> tuple[tuple[int, bytes], ...]:
    """(offset, bytes) of this table on a disk of `size` bytes, the first sectors last: the second copy at the disk's
    end, and all up to there usable. The same as it was where the table was made for that size."""
    fitted = fit(table, size)
    return (
        (fitted.tail_offset, fitted.tail),
        (table.entries_offset, table.raw_entries),
        (0, fitted.head),
    )


def only_state(table: Copy, state: Entry, size: int) -> tuple[tuple[int, bytes], ...]:
    """The same of a table with that one partition: a disk under way, from which nothing boots, and on which the next
    deployment finds what to keep."""
    return for_disk(only(table, state, boot_code=_NO_BOOT), size)

"""What is written to a disk, in which order, so that no half-written disk looks whole and nothing that is kept is lost.

    sector 0     1 MiB                                           end of the image    end of the disk
      │ tables, boot │ … │ persistent-state │ the rest of the image │   untouched   │ table │
      1. the disk's own table is replaced by one that has the kept partition alone, at both ends
      2. everything of the image behind its first MiB, but for the kept partition
      3. the second copy of the image's table, moved to the disk's end
      4. the image's first MiB, with its boot sector and its table

The table of step 1 has nothing to boot from, and tells the next deployment what to keep if this one ends half-way.
A partition is kept where disk and image both have one named `persistent-state` in exactly the same sectors.

The disk gets identifiers of its own where the image allows it (dibo/formats/partitions/identifiers.py), so that another
disk of the same image in the same machine is another disk. A partition that is kept keeps its GUID.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from dibo.formats import magic
from dibo.formats.partitions import gpt, identifiers
from dibo.units import MIB, SECTOR, human_size

KEPT_NAME: Final = "persistent-state"
HEAD: Final = MIB
_TAIL: Final = 33 * SECTOR
"""Where a second copy is: 128 entries, and a header."""
_SIGNATURE: Final = magic.GPT
_ADVICE: Final = "to lose what is in it, say persistent_state: wipe"


class DeploymentFailed(Exception):
    """One line: what failed, and what to do where something can be done."""


@dataclass(frozen=True, slots=True)
class Range:
    """In bytes, at the same place in image and disk."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The first and the last MiB of a disk or an image."""

    size: int
    head: bytes
    tail: bytes

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the disk; none of what lies between its ends."""
        if offset + size <= len(self.head):
            return self.head[offset : offset + size]
        start = offset - (self.size - len(self.tail))
        return self.tail[start : start + size] if start >= 0 else b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writes:
    """Steps are offsets and bytes, in their order."""

    interim: tuple[tuple[int, bytes], ...]
    body: tuple[Range, ...]
    final: tuple[tuple[int, bytes], ...]
    kept: Range | None

    @property
    def total(self) -> int:
        """Bytes of the body."""
        return sum(extent.size for extent in self.body)


def plan_writes(*, image: Ends, disk: Ends, wipe: bool) -> Writes:
    """Raises DeploymentFailed where the image does not fit, or what is to be kept cannot be."""
    if image.size > disk.size:
        raise DeploymentFailed(
            f"the disk is too small: the image has {human_size(image.size)} ({image.size} bytes),"
            f" the disk {human_size(disk.size)} ({disk.size} bytes)"
        )
    if (sector := gpt.sector_of(image.head)) != SECTOR:
        raise DeploymentFailed(
            f"the image's partition table counts in sectors of {sector} bytes, and disks are written here with {SECTOR}"
        )
    entry = None if wipe else _kept(image, disk)
    kept = Range(entry.offset, entry.size) if entry else None
    head = min(HEAD, image.size, kept.offset if kept else image.size)
    return Writes(
        interim=_interim(disk.size, entry),
        body=_without(Range(head, image.size - head), kept),
        final=_final(replace(image, head=_renewed(image, entry)), disk.size, head, kept),
        kept=kept,
    )


def _renewed(image: Ends, kept: gpt.Entry | None) -> bytes:
    """The image's first MiB, with identifiers for this disk."""
    new = _named(image, "the image") if kept else None
    return identifiers.replaced(image.head, kept={new.number: kept.guid} if new and kept else None)


def _final(image: Ends, size: int, length: int, kept: Range | None) -> tuple[tuple[int, bytes], ...]:
    head = image.head[:length]
    steps: list[tuple[int, bytes]] = []
    if image.head[SECTOR:].startswith(_SIGNATURE):
        try:
            copy = gpt.read_copy(image.read, lba=1)
        except gpt.GptError as error:
            raise DeploymentFailed(f"the image's partition table is damaged: {error}") from error
        fitted = gpt.fit(copy, size)
        ends = max((entry.end for entry in copy.table.entries), default=0)
        start, end = copy.backup
        if ends > image.size:
            raise DeploymentFailed(f"the image ends at byte {image.size}, within a partition: is it whole?")
        if end < size and start >= max(ends, length, kept.end if kept else 0):
            steps.append((start, bytes(end - start)))
        steps.append((fitted.tail_offset, fitted.tail))
        head = fitted.head + head[len(fitted.head) :]
    elif (clear := max(image.size, size - _TAIL)) < size:
        steps.append((clear, bytes(size - clear)))
    return (*steps, (0, head))


def _kept(image: Ends, disk: Ends) -> gpt.Entry | None:
    existing = _named(disk, "the disk")
    if existing is None:
        return None
    new = _named(image, "the image")
    if new is None:
        raise DeploymentFailed(
            f"the disk has a partition {KEPT_NAME}, the image has none: it would be overwritten; {_ADVICE}"
        )
    if (new.first_lba, new.last_lba) != (existing.first_lba, existing.last_lba):
        raise DeploymentFailed(
            f"the partition {KEPT_NAME} has sectors {existing.first_lba} to {existing.last_lba} of the disk,"
            f" but {new.first_lba} to {new.last_lba} of the image: it would be overwritten; {_ADVICE}"
        )
    return existing


def _named(ends: Ends, description: str) -> gpt.Entry | None:
    """The partition of that name. A table that cannot be read could have one."""
    if not (ends.head[SECTOR:].startswith(_SIGNATURE) or ends.tail[-SECTOR:].startswith(_SIGNATURE)):
        return None
    try:
        table = gpt.read_either(ends.read, size=ends.size).table
    except gpt.GptError as error:
        raise DeploymentFailed(
            f"{description} may have a partition {KEPT_NAME}, but its partition table is damaged: {error}; {_ADVICE}"
        ) from error
    entries = [entry for entry in table.entries if entry.name == KEPT_NAME]
    if len(entries) > 1:
        raise DeploymentFailed(f"{description} has {len(entries)} partitions {KEPT_NAME}")
    return entries[0] if entries else None


def _without(whole: Range, hole: Range | None) -> tuple[Range, ...]:
    if hole is None:
        parts = [whole]
    else:
        parts = [
            Range(whole.offset, hole.offset - whole.offset),
            Range(hole.end, whole.end - hole.end),
        ]
    return tuple(part for part in parts if part.size > 0)


def _interim(size: int, entry: gpt.Entry | None) -> tuple[tuple[int, bytes], ...]:
    """The end first: as long as the start has the old table, that is the one that counts."""
    if entry is None:
        return ((max(0, size - _TAIL), bytes(min(_TAIL, size))), (0, bytes(min(HEAD, size))))
    both = gpt.encode((replace(entry, number=1),), size=size, disk_guid=entry.guid)
    return ((both.tail_offset, both.tail), (0, both.head))

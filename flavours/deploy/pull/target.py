"""Where the bytes of an image go on a disk, and where not.

    0 ─────── held back ─┬─ written as it comes ─┬─ kept: not touched ─┬─ written ─┬─ held back ── end of the image
      first MiB          │                       │ persistent-state    │           │ second copy of the table

What makes a disk bootable, its first MiB and the second copy of its partition table, is written last of all, when the
digest of the image held. Meanwhile the disk has no table; or, where something is kept, one that has that alone, so
that the next deployment finds it. Disk and partitions get GUIDs of their own, where the image allows it.
"""

from __future__ import annotations

from dibo.formats import magic
from dibo.formats.partitions import identifiers
from pull import gpt
from pull.disk import Disk
from pull.errors import PullError

BEGINNING = 1 << 20
_SMALL = 4096
_ZEROS = bytes(1 << 20)


class Target:
    """`beginning` is the image's first MiB; `size` the image's, None where it is not known before its end."""

    def __init__(self, disk: Disk, beginning: bytes, size: int | None, *, wipe: bool) -> None:
        """Compares disk and image, and writes nothing. Raises PullError where they do not go together."""
        self._disk = disk
        self._beginning = beginning
        if magic.has_partition_table(beginning):
            _check_sectors(disk, gpt.sector_of(beginning))
        self.table = gpt.of_image(beginning)
        self._check_room(size)
        self._old = _old_table(disk, wipe=wipe)
        self.kept = self._to_keep(wipe=wipe)
        held = min(len(beginning), self.kept.offset) if self.kept else len(beginning)
        self._held: list[tuple[int, bytearray]] = [(0, bytearray(held))]
        if self.table is not None:
            start, end = self.table.backup
            if start < held or (self.kept and start < self.kept.end):
                raise PullError(
                    "the image's partition table is damaged: its second copy lies in the midst of the disk"
                )
            self._held.append((start, bytearray(end - start)))
        self.touched = False

    def _check_room(self, size: int | None) -> None:
        wanted = size or 0
        if self.table is not None:
            end = gpt.end_of(self.table)
            if size is not None and size < end:
                raise PullError(
                    f"the image ends at byte {size}, within a partition that ends at {end}: is it whole?"
                )
            wanted = max(wanted, end, self.table.backup[1])
        if wanted > self._disk.size:
            raise PullError(
                f"the disk {self._disk.path} is too small: it has {self._disk.size} bytes, the image wants {wanted}"
            )

    def _to_keep(self, *, wipe: bool) -> gpt.Entry | None:
        """The disk's persistent-state partition, where the image has it at the same place."""
        old = gpt.state_of(self._old) if self._old is not None else None
        if old is None or wipe:
            return None
        new = gpt.state_of(self.table) if self.table is not None else None
        if new is None:
            raise PullError(
                f"the disk has a partition {gpt.STATE}, and the image has none: persistent_state=wipe overwrites it"
            )
        if (new.offset, new.size) != (old.offset, old.size):
            raise PullError(
                f"the disk's partition {gpt.STATE} is at byte {old.offset} and has {old.size} bytes, the image's is at"
                f" {new.offset} and has {new.size}: take an image of the same layout, or persistent_state=wipe"
            )
        return old

    @property
    def state(self) -> str:
        """What is on the disk now, for messages."""
        if not self.touched:
            return "the disk is as it was"
        kept = f"; its partition {gpt.STATE} is as it was" if self.kept else ""
        return f"the disk is written in part, and does not boot{kept}"

    def begin(self) -> None:
        """From here on the disk does not boot."""
        self.touched = True
        tail = min(self._disk.size, 64 * gpt.SECTOR)
        self._zero_on_disk(self._disk.size - tail, tail)
        self._zero_on_disk(0, min(BEGINNING, self._disk.size))
        if self.kept is not None and self._old is not None:
            for offset, data in gpt.only_state(self._old, self.kept, self._disk.size):
                self._disk.write(offset, data)
        self._disk.flush()

    def write(self, offset: int, data: bytes) -> None:
        """Some of the image."""
        for start, part, held in self._pieces(offset, len(data)):
            piece = data[start - offset : start - offset + part]
            if held is not None:
                where, buffer = held
                buffer[start - where : start - where + part] = piece
            elif part >= _SMALL and _is_zero(piece):
                self._disk.zero(start, part)
            else:
                self._disk.write(start, piece)

    def zero(self, offset: int, size: int) -> None:
        """A part of the image that is zeros. To be called before `write` for the same bytes."""
        for start, part, held in self._pieces(offset, size):
            if held is None:
                self._disk.zero(start, part)

    def _pieces(self, offset: int, size: int) -> list[tuple[int, int, tuple[int, bytearray] | None]]:
        """(offset, size, what holds it back or None) of what is not kept."""
        if offset + size > self._disk.size:
            raise PullError(
                f"the disk {self._disk.path} is too small: it has {self._disk.size} bytes, and the image more"
            )
        marks = [(start, start + len(buffer), (start, buffer)) for start, buffer in self._held]
        special: list[tuple[int, int, tuple[int, bytearray] | None]] = [*marks]
        if self.kept is not None:
            special.append((self.kept.offset, self.kept.end, None))
        found: list[tuple[int, int, tuple[int, bytearray] | None]] = []
        at, end = offset, offset + size
        for first, last, held in sorted(special, key=lambda each: each[0]):
            if last <= at or first >= end:
                continue
            if at < first:
                found.append((at, first - at, None))
            stop = min(last, end)
            if held is not None:
                found.append((max(at, first), stop - max(at, first), held))
            at = stop
        if at < end:
            found.append((at, end - at, None))
        return found

    def finish(self, size: int) -> None:
        """All of the image has come, `size` bytes, and it is what was wanted: make it bootable."""
        self._check_room(size)
        head = self._held[0][1]
        if bytes(head) != self._beginning[: len(head)]:
            raise PullError(
                "the image changed while it was read: its first bytes are not those that came first"
            )
        renewed = self._renewed()
        head[:] = renewed[: len(head)]
        if self.table is not None:
            self.table = gpt.of_image(renewed) or self.table
            start, old = self._held[1]
            self._disk.zero(start, min(len(old), self._disk.size - start))
            for offset, data in gpt.for_disk(self.table, self._disk.size):
                if offset < len(head):
                    head[offset : offset + len(data)] = data
                else:
                    self._disk.write(offset, data)
        self._disk.flush()
        self._disk.write(_SMALL, bytes(head[_SMALL:]))
        self._disk.flush()
        self._disk.write(0, bytes(head[:_SMALL]))
        self._disk.flush()

    def _renewed(self) -> bytes:
        """The image's first bytes with identifiers for this disk, where the image allows it; a partition that is kept
        keeps its own."""
        new = gpt.state_of(self.table) if self.table is not None else None
        guids = {new.number: self.kept.guid} if new is not None and self.kept is not None else {}
        return identifiers.replaced(self._beginning, kept=guids)

    def _zero_on_disk(self, offset: int, size: int) -> None:
        """All that is not kept of it."""
        end = offset + size
        if self.kept is None or self.kept.end <= offset or self.kept.offset >= end:
            self._disk.zero(offset, size)
            return
        if offset < self.kept.offset:
            self._disk.zero(offset, self.kept.offset - offset)
        if self.kept.end < end:
            self._disk.zero(self.kept.end, end - self.kept.end)


def _check_sectors(disk: Disk, sector: int) -> None:
    """Raises PullError where a table that counts in sectors of so many bytes cannot be put on the disk."""
    if disk.sector != sector:
        raise PullError(
            f"the disk {disk.path} has sectors of {disk.sector} bytes, and the image's partition table counts in"
            f" {sector}: take another disk"
        )
    if sector != gpt.SECTOR:
        raise PullError(f"images for disks with sectors of {sector} bytes cannot be put on a disk here")


def _old_table(disk: Disk, *, wipe: bool) -> gpt.Copy | None:
    if disk.sector != gpt.SECTOR:
        return None
    try:
        return gpt.of_disk(disk.read, disk.size)
    except PullError as error:
        if wipe:
            return None
        raise PullError(
            f"on the disk {disk.path} {error}, so nobody knows whether there is something to keep:"
            " persistent_state=wipe overwrites all"
        ) from error


def _is_zero(data: bytes) -> bool:
    return data == _ZEROS[: len(data)] if len(data) <= len(_ZEROS) else not data.strip(b"\0")

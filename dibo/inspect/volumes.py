"""The volumes of a disk, and what is on each.

Of xfs and btrfs, which dibo cannot read, label and UUID are read all the same: a root file system is booted by them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from dibo.errors import DiskImageError
from dibo.formats import magic
from dibo.formats.ext4.reader import Ext, is_ext
from dibo.formats.fat.reader import Fat, is_fat
from dibo.formats.filesystem import FileSystem
from dibo.formats.partitions.reader import PartitionPlace, places
from dibo.formats.source import Source, Window

FOREIGN: Final = ("xfs", "btrfs")
"""What needs another program to be read."""
_XFS: Final = struct.Struct(">32x16s60x12s")
"""The superblock up to its label: sb_uuid, sb_fname (fs/xfs/libxfs/xfs_format.h, struct xfs_dsb)."""
_BTRFS: Final = struct.Struct("<32x16s251x256s")
"""The superblock up to its label: fsid, label (include/uapi/linux/btrfs_tree.h, struct btrfs_super_block)."""
_BTRFS_AT: Final = 0x10000


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """`system` is None where dibo cannot read it; `trouble` says why where it should have been able to."""

    place: PartitionPlace
    kind: str
    label: str = ""
    uuid: str = ""
    system: FileSystem | None = field(default=None, compare=False)
    needs_recovery: bool = False
    trouble: str = ""

    @property
    def name(self) -> str:
        """For people."""
        return f"partition {self.place.number}" if self.place.number else "the disk"

    def __str__(self) -> str:
        label = f" {self.label!r}" if self.label else ""
        return f"{self.name}: {self.kind or 'nothing known'}{label}" + (
            f" ({self.trouble})" if self.trouble else ""
        )


def volumes(disk: Source) -> tuple[Volume, ...]:
    """In the order of the table; of a disk without partitions, or with nothing known in them, the disk itself if
    something is. Raises DiskImageError for a damaged table."""
    everything = PartitionPlace(number=0, offset=0, size=disk.size)
    if is_fat(_head(disk, 0, 512)):
        return (_volume(disk, everything),)
    on_table = tuple(_volume(disk, place) for place in places(disk))
    if not any(volume.kind for volume in on_table):
        alone = _volume(disk, everything)
        if alone.kind or not on_table:
            return (alone,)
    return on_table


def _volume(disk: Source, place: PartitionPlace) -> Volume:
    part = Window(disk, place.offset, place.size)
    kind = ""
    try:
        head = _head(part, 0, magic.HEAD)
        kind = "ext" if is_ext(head) else "vfat" if is_fat(head) else ""
        if kind == "ext":
            ext = Ext(part)
            return Volume(
                place=place,
                kind=ext.kind,
                label=ext.label,
                uuid=ext.uuid,
                system=ext,
                needs_recovery=ext.needs_recovery,
            )
        if kind == "vfat":
            fat = Fat(part)
            return Volume(place=place, kind=fat.kind, label=fat.label, uuid=fat.uuid, system=fat)
        return _unreadable(part, place, head)
    except DiskImageError as error:
        return Volume(place=place, kind=kind, trouble=error.message)


def _unreadable(part: Source, place: PartitionPlace, head: bytes) -> Volume:
    kind = magic.file_system(head)
    if kind == "xfs" and len(head) >= _XFS.size:
        uuid, label = _XFS.unpack_from(head)
        return Volume(place=place, kind=kind, uuid=_uuid(uuid), label=_text(label))
    if kind == "btrfs":
        uuid, label = _BTRFS.unpack_from(_head(part, _BTRFS_AT, _BTRFS.size).ljust(_BTRFS.size, b"\0"))
        return Volume(place=place, kind=kind, uuid=_uuid(uuid), label=_text(label))
    return Volume(place=place, kind=kind)


def _head(source: Source, offset: int, size: int) -> bytes:
    available = max(0, min(size, source.size - offset))
    return source.read(offset, available) if available else b""


def _uuid(data: bytes) -> str:
    return str(UUID(bytes=data))


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode(errors="replace")

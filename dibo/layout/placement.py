"""The placement: the wish in sectors, with every identifier decided.

    sector 0        1        2..33     34 ....... 2048 ......................... n-33..n-2   n-1
          MBR   GPT header  entries   (free)   partitions, each starting at and   entries   header
                                                 filling whole MiB

Sectors have 512 bytes. Partitions start on whole MiB, where tools put them since disks have 4 KiB blocks, unless the
layout has another alignment; the first MiB stays free, for GRUB, whatever it is.
Partition table sizes: UEFI 2.10, 5.3. Types: the Discoverable Partitions Specification of the UAPI group; codes of an
MBR: fdisk of util-linux (include/pt-mbr-partnames.h).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from dibo.errors import LayoutError
from dibo.formats.ext4.layout import BLOCK, MAX_BLOCKS
from dibo.formats.partitions import gpt
from dibo.layout.identity import Identifiers, disk_guid, identify
from dibo.layout.model import (
    ROOT,
    FileSystemType,
    Flag,
    Layout,
    Partition,
    PartitionContent,
    PartitionType,
    Sizing,
    TableType,
)
from dibo.units import MIB, SECTOR, TIB, human_size

EXT4_LIMIT: Final = (MAX_BLOCKS + 1) * BLOCK
_MBR_ENTRIES: Final = 4
_MBR_LIMIT: Final = 2 * TIB

_GUIDS: Final = {
    PartitionType.BIOS_BOOT: UUID(
        "21686148-6449-6e6f-744e-656564454649"
    ),  # "Hah!IdontNeedEFI"; GRUB manual, 3.4
    PartitionType.ESP: UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),  # UEFI 2.10, table 5.7
    PartitionType.XBOOTLDR: UUID("bc13c2ff-59e6-4262-a352-b275fd6f7172"),
    PartitionType.LINUX_HOME: UUID("933ac7e1-2eb4-4f13-b844-0e14e2aef915"),
    PartitionType.LINUX_SRV: UUID("3b8f8425-20e0-4f3b-907f-1a25a76f98e8"),
    PartitionType.LINUX_VAR: UUID("4d21b016-b534-45c2-a9fb-5c16e091fd2d"),
    PartitionType.LINUX_TMP: UUID("7ec6f557-3bc5-4aca-b293-16ef5df639d1"),
    PartitionType.LINUX: UUID("0fc63daf-8483-4772-8e79-3d69d8477de4"),
    PartitionType.LINUX_LVM: UUID("e6d6d379-f507-44c2-a23c-238f2a3df928"),
    PartitionType.LINUX_RAID: UUID("a19d880f-05fc-4d3b-a006-743f0f84911e"),
    PartitionType.SWAP: UUID("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"),
    PartitionType.BASIC_DATA: UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"),
}
_ROOTS: Final = {
    "amd64": UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
    "arm64": UUID("b921b045-1df0-41c3-af44-4c6f280d3fae"),
    "armhf": UUID("69dad710-2ce4-4e3c-b16c-21a1d49abed3"),
    "i386": UUID("44479540-f297-41b2-9af7-d131d5f0458a"),
    "ppc64el": UUID("c31c45e6-3f39-412e-80fb-4809c4980599"),
    "riscv64": UUID("72ec70a6-cf74-40e6-bd49-4bda08e8f224"),
    "s390x": UUID("5eead9a9-fe09-4a1e-a1d7-520d00531306"),
}
_USRS: Final = {
    "amd64": UUID("8484680c-9521-48c6-9c11-b0720656f69e"),
    "arm64": UUID("b0e01050-ee5f-4390-949a-9101b17104e9"),
    "armhf": UUID("7d0359a3-02b3-4f0a-865c-654403e70625"),
    "i386": UUID("75250d76-8cc6-458e-bd66-bd47cc81a812"),
    "ppc64el": UUID("15bb03af-77e7-4d4a-b12b-c0d084f7491c"),
    "riscv64": UUID("beaec34b-8442-439b-a40b-984381ed097d"),
    "s390x": UUID("8a4f5770-50aa-4ed3-874a-99b710db6fea"),
}
_CODES: Final = {
    PartitionType.ESP: 0xEF,
    PartitionType.XBOOTLDR: 0xEA,
    PartitionType.LINUX_LVM: 0x8E,
    PartitionType.LINUX_RAID: 0xFD,
    PartitionType.SWAP: 0x82,
    PartitionType.BASIC_DATA: 0x0C,
}
_LINUX_CODE: Final = 0x83
_HIDDEN: Final = {0x01: 0x11, 0x04: 0x14, 0x06: 0x16, 0x07: 0x17, 0x0B: 0x1B, 0x0C: 0x1C, 0x0E: 0x1E}

_ATTRIBUTES: Final = {
    Flag.REQUIRED: 1 << 0,  # UEFI 2.10, table 5.8
    Flag.BOOTABLE: 1 << 2,
    Flag.GROW_FILE_SYSTEM: 1 << 59,  # Discoverable Partitions Specification
    Flag.READ_ONLY: 1 << 60,
    Flag.HIDDEN: 1 << 62,  # Microsoft's, of basic data
    Flag.NO_AUTO: 1 << 63,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPartition:
    wish: Partition
    number: int
    """From 1, as in /dev/vda1; logical ones of an MBR from 5."""
    first_lba: int
    sectors: int
    type_guid: UUID
    """In a GPT."""
    type_code: int = 0
    """In an MBR."""
    record_lba: int | None = None
    """Of a logical partition of an MBR: the sector that describes it."""
    ids: Identifiers

    @property
    def last_lba(self) -> int:
        """The last sector inside, as GPT counts."""
        return self.first_lba + self.sectors - 1

    @property
    def offset(self) -> int:
        """Bytes from the start of the disk."""
        return self.first_lba * SECTOR

    @property
    def size(self) -> int:
        """Bytes."""
        return self.sectors * SECTOR

    @property
    def attributes(self) -> int:
        """In a GPT."""
        return sum(_ATTRIBUTES[flag] for flag in self.wish.flags)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    size: int
    """Bytes of the whole disk."""
    disk_guid: UUID
    partitions: tuple[PlacedPartition, ...]
    table: TableType = TableType.GPT
    sector: int = SECTOR
    """Bytes that the table and FATs count in; the numbers of sectors here are of 512 bytes always."""

    @property
    def sectors(self) -> int:
        return self.size // SECTOR

    @property
    def last_usable(self) -> int:
        """The last sector before the backup table."""
        return gpt.last_usable(self.sectors)

    @property
    def root(self) -> PlacedPartition:
        """The partition mounted at /. Its file system is written at its offset, in its size."""
        return next(partition for partition in self.partitions if partition.wish.mount == ROOT)

    def holding(self, content: PartitionContent) -> PlacedPartition | None:
        return next((part for part in self.partitions if part.wish.content is content), None)

    def named(self, name: str) -> PlacedPartition:
        return next(part for part in self.partitions if part.wish.name == name)


def root_partition(label: str) -> Partition:
    """A root file system that takes what room there is."""
    return Partition(
        name="root",
        type=PartitionType.LINUX,
        size=Sizing.REST,
        filesystem=FileSystemType.EXT4,
        label=label,
        mount=ROOT,
    )


def bare_placement(size: int, *, identity: str, label: str) -> Placement:
    """A disk that is one file system, without a table."""
    root = root_partition(label)
    _check_file_system(root, size)
    everything = PlacedPartition(
        wish=root,
        number=0,
        first_lba=0,
        sectors=size // SECTOR,
        type_guid=UUID(int=0),
        ids=identify(identity, root.name),
    )
    return Placement(size=size, disk_guid=disk_guid(identity), partitions=(everything,))


def place(
    layout: Layout, *, size: int, identity: str, architecture: str, fitting: Mapping[str, int] | None = None
) -> Placement:
    """Lay `layout` out on a disk of `size` bytes.

    `identity` is what all identifiers derive from, usually the image's digest. `architecture` is Debian's
    word (amd64). `fitting` has the bytes of each partition whose size is `fit`, by name; what is not in there takes
    one MiB. Raises LayoutError when the partitions do not fit, with what is missing.
    """
    if size % layout.sector:
        raise LayoutError(
            f"an image of {size} bytes is not a multiple of the sector size, {layout.sector} bytes"
        )
    if layout.table is TableType.MBR and size > _MBR_LIMIT:
        raise LayoutError(
            f"a disk of {human_size(size)} is too large for an MBR: the limit is {human_size(_MBR_LIMIT)}",
            hint="write table: gpt",
        )
    end = _end(layout, size)
    spans, needed = _spans(layout, end, fitting or {})
    if needed > end:
        partitions = _taken(layout, fitting or {})
        room = max(end - (needed - partitions), 0)
        raise LayoutError(
            f"the partitions need {human_size(partitions)}, but the image has room for"
            f" {human_size(room)}: {human_size(partitions - room)} are missing",
            hint="make the image larger (IMAGE_SIZE, --image-size), or a partition smaller in the layout",
        )
    for wish, span in zip(layout.partitions, spans, strict=True):
        _check_file_system(wish, span.end - span.start)
    return Placement(
        size=size,
        disk_guid=disk_guid(identity),
        table=layout.table,
        sector=layout.sector,
        partitions=tuple(
            PlacedPartition(
                wish=wish,
                number=span.number,
                first_lba=span.start // SECTOR,
                sectors=(span.end - span.start) // SECTOR,
                type_guid=_type_guid(wish, architecture) if layout.table is TableType.GPT else UUID(int=0),
                type_code=_type_code(wish) if layout.table is TableType.MBR else 0,
                record_lba=span.record // SECTOR if span.record is not None else None,
                ids=identify(identity, wish.name),
            )
            for wish, span in zip(layout.partitions, spans, strict=True)
        ),
    )


def _check_file_system(wish: Partition, size: int) -> None:
    if wish.filesystem is FileSystemType.EXT4 and size >= EXT4_LIMIT:
        raise LayoutError(
            f"the partition {wish.name} has {human_size(size)}, expected less than {human_size(EXT4_LIMIT)}:"
            " dibo's ext4 counts blocks by 32 bits",
            hint="give it a size below that, or filesystem: xfs",
        )


def smallest_disk(layout: Layout, fitting: Mapping[str, int]) -> int:
    """Bytes of the smallest disk, in whole MiB, for `layout` with its partitions as small as `fitting` has them: those
    that fit, and the one that has the rest."""
    _, needed = _spans(layout, 0, fitting)
    return needed + (MIB if layout.table is TableType.GPT else 0)  # the other copy of the table


@dataclass(slots=True, kw_only=True)
class _Span:
    """Bytes of the disk that a partition takes, and the byte of its record, if it is a logical one."""

    number: int
    start: int
    end: int
    record: int | None = None


def _grain(layout: Layout) -> int:
    """Sizes are rounded up to it."""
    return min(layout.alignment, MIB)


def _end(layout: Layout, size: int) -> int:
    """The byte where partitions end on a disk of `size` bytes."""
    sector = layout.sector
    sectors = size // sector
    usable = (
        gpt.last_usable(sectors, sector=sector) + 1 if layout.table is TableType.GPT else sectors
    ) * sector
    return usable // _grain(layout) * _grain(layout)


def _length(wish: Partition, layout: Layout, fitting: Mapping[str, int]) -> int:
    """Bytes, at least; more for the rest."""
    grain = _grain(layout)
    size = fitting.get(wish.name, grain) if isinstance(wish.size, Sizing) else wish.size
    return max(1, -(-size // grain)) * grain


def _taken(layout: Layout, fitting: Mapping[str, int]) -> int:
    return sum(_length(wish, layout, fitting) for wish in layout.partitions)


def _spans(layout: Layout, end: int, fitting: Mapping[str, int]) -> tuple[list[_Span], int]:
    """Where each partition is, and the byte where the last would end if the rest were as small as can be."""
    spans = _row(layout, fitting, extra=0)
    needed = max(spans[-1].end, MIB)
    if end > needed and any(wish.size is Sizing.REST for wish in layout.partitions):
        # The grain divides the alignment, so all that follows the rest moves by whole alignments, but not further.
        spare = end - needed
        if layout.partitions[-1].size is not Sizing.REST:
            spare = spare // layout.alignment * layout.alignment
        spans = _row(layout, fitting, extra=spare)
    return spans, needed


def _row(layout: Layout, fitting: Mapping[str, int], *, extra: int) -> list[_Span]:
    """The partitions one after the other, the rest with `extra` bytes more than the least."""
    alignment = layout.alignment
    count = len(layout.partitions)
    logical_from = (
        _MBR_ENTRIES - 1 if layout.table is TableType.MBR and count > _MBR_ENTRIES else count
    )  # index
    spans: list[_Span] = []
    at = MIB
    for index, wish in enumerate(layout.partitions):
        record = None
        at = -(-at // alignment) * alignment
        if index >= logical_from:
            record = at
            at += alignment
        end = at + _length(wish, layout, fitting) + (extra if wish.size is Sizing.REST else 0)
        number = index + 1 if index < logical_from else index + 2
        spans.append(_Span(number=number, start=at, end=end, record=record))
        at = end
    return spans


def _type_guid(wish: Partition, architecture: str) -> UUID:
    match wish.type:
        case UUID():
            return wish.type
        case PartitionType.LINUX_ROOT:
            return _of_architecture(_ROOTS, architecture, "the root")
        case PartitionType.LINUX_USR:
            return _of_architecture(_USRS, architecture, "/usr")
        case PartitionType():
            return _GUIDS[wish.type]
    raise LayoutError(f"the type {wish.type!r} of {wish.name} is not valid in a GPT")


def type_of(guid: UUID) -> PartitionType | None:
    """What a GPT says that a partition is for; None where no layout has a word for it."""
    if guid in _ROOTS.values():
        return PartitionType.LINUX_ROOT
    if guid in _USRS.values():
        return PartitionType.LINUX_USR
    return next((kind for kind, known in _GUIDS.items() if known == guid), None)


def _of_architecture(known: Mapping[str, UUID], architecture: str, part_name: str) -> UUID:
    if architecture not in known:
        raise LayoutError(
            f"no known partition type for {part_name} of architecture {architecture!r}",
            hint=f"known: {', '.join(known)}; or write type: linux in the layout",
        )
    return known[architecture]


def _type_code(wish: Partition) -> int:
    if isinstance(wish.type, UUID):
        raise LayoutError(f"the type {wish.type} of {wish.name} is not valid in an MBR")
    code = wish.type if isinstance(wish.type, int) else _CODES.get(wish.type, _LINUX_CODE)
    if Flag.HIDDEN not in wish.flags:
        return code
    if code not in _HIDDEN:
        raise LayoutError(
            f"a partition of type {code:#04x} cannot be hidden in an MBR: {wish.name}",
            hint="only types of FAT and NTFS can; remove hidden",
        )
    return _HIDDEN[code]

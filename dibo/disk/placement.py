"""The placement: the wish in sectors, with every identifier decided.

    sector 0        1        2..33     34 ....... 2048 ......................... n-33..n-2   n-1
          MBR   GPT header  entries   (free)   partitions, each starting at and   entries   header
                                                 filling whole MiB

Sectors have 512 bytes. Partitions start on whole MiB, where tools put them since disks have 4 KiB blocks.
Partition table sizes: UEFI 2.10, 5.3. Types: the Discoverable Partitions Specification of the UAPI group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from dibo.disk.identity import Identifiers, disk_guid, identify
from dibo.disk.partition import ROOT, Content, Layout, Partition, PartitionType
from dibo.errors import LayoutError
from dibo.units import MIB, SECTOR, human_size

ALIGNMENT = MIB // SECTOR
ENTRIES_SECTORS = 32  # 128 entries of 128 bytes
FIRST_USABLE = 2 + ENTRIES_SECTORS

_BIOS_BOOT = UUID("21686148-6449-6e6f-744e-656564454649")  # reads "Hah!IdontNeedEFI"; GRUB manual, 3.4
_ESP = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")  # UEFI 2.10, table 5.7
_LINUX = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
_LINUX_ROOT: Final = {
    "amd64": UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
    "arm64": UUID("b921b045-1df0-41c3-af44-4c6f280d3fae"),
    "armhf": UUID("69dad710-2ce4-4e3c-b16c-21a1d49abed3"),
    "i386": UUID("44479540-f297-41b2-9af7-d131d5f0458a"),
    "ppc64el": UUID("c31c45e6-3f39-412e-80fb-4809c4980599"),
    "riscv64": UUID("72ec70a6-cf74-40e6-bd49-4bda08e8f224"),
    "s390x": UUID("5eead9a9-fe09-4a1e-a1d7-520d00531306"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPartition:
    wish: Partition
    number: int
    """From 1, as in /dev/vda1."""
    first_lba: int
    sectors: int
    type_guid: UUID
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    size: int
    """Bytes of the whole disk."""
    disk_guid: UUID
    partitions: tuple[PlacedPartition, ...]

    @property
    def sectors(self) -> int:
        return self.size // SECTOR

    @property
    def last_usable(self) -> int:
        """The last sector before the backup table."""
        return last_usable(self.sectors)

    @property
    def root(self) -> PlacedPartition:
        """The partition mounted at /. Its file system is written at its offset, in its size."""
        return next(partition for partition in self.partitions if partition.wish.mount == ROOT)

    def holding(self, content: Content) -> PlacedPartition | None:
        return next((part for part in self.partitions if part.wish.content is content), None)


def last_usable(sectors: int) -> int:
    return sectors - 1 - ENTRIES_SECTORS - 1


def place(layout: Layout, *, size: int, identity: str, architecture: str) -> Placement:
    """Lay `layout` out on a disk of `size` bytes.

    `identity` is what all identifiers derive from, usually the image's digest. `architecture` is Debian's
    word (amd64). Raises LayoutError when the partitions do not fit, with what is missing.
    """
    if size % SECTOR:
        raise LayoutError(f"an image of {size} bytes does not end on a sector of {SECTOR} bytes")
    lengths = _lengths(layout, available=(last_usable(size // SECTOR) + 1) // ALIGNMENT - 1)
    first = ALIGNMENT
    partitions = []
    for number, (wish, length) in enumerate(zip(layout.partitions, lengths, strict=True), start=1):
        partitions.append(
            PlacedPartition(
                wish=wish,
                number=number,
                first_lba=first,
                sectors=length * ALIGNMENT,
                type_guid=_type_guid(wish.type, architecture),
                ids=identify(identity, wish.name),
            )
        )
        first += length * ALIGNMENT
    return Placement(size=size, disk_guid=disk_guid(identity), partitions=tuple(partitions))


def _lengths(layout: Layout, *, available: int) -> tuple[int, ...]:
    """MiB of each partition, of the `available` ones. The rest is at least one."""
    fixed = [None if wish.size is None else -(-wish.size // MIB) for wish in layout.partitions]
    taken = sum(length for length in fixed if length is not None)
    wanted = taken + fixed.count(None)
    if wanted > available:
        room = max(available, 0)
        raise LayoutError(
            f"the partitions want {human_size(wanted * MIB)}, the image has room for"
            f" {human_size(room * MIB)} of them: {human_size((wanted - room) * MIB)} are missing",
            hint="make the image larger (IMAGE_SIZE, --image-size), or a partition smaller in the layout",
        )
    return tuple(available - taken if length is None else length for length in fixed)


def _type_guid(kind: PartitionType, architecture: str) -> UUID:
    match kind:
        case PartitionType.BIOS_BOOT:
            return _BIOS_BOOT
        case PartitionType.ESP:
            return _ESP
        case PartitionType.LINUX:
            return _LINUX
        case PartitionType.LINUX_ROOT:
            if architecture not in _LINUX_ROOT:
                raise LayoutError(
                    f"no partition type is known for the root of architecture {architecture!r}",
                    hint=f"known: {', '.join(_LINUX_ROOT)}; or write type: linux in the layout",
                )
            return _LINUX_ROOT[architecture]

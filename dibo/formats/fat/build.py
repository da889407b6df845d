"""A FAT file system, written once: each file and directory is in its place before the first byte of the table.

Each takes the next free clusters, so that every chain is a run; directories come before what is in them, names in
order. Files that were streamed to their places before (dibo.disk.fat_writer) stay there. Nothing is ever moved, the
same files give the same bytes, and unused space stays a hole in the target.

    entry of a directory (32 bytes)
     0 alias, 8 + 3 bytes           14 u16 time, u16 date of creation     22 u16 time, u16 date of change
    11 u8 attributes                18 u16 date of the last reading       26 u16 first cluster, low half
    12 u8 0                         20 u16 first cluster, high half       28 u32 bytes; 0 for a directory
    13 u8 hundredths of creation

Microsoft's fatgen103: "FAT Data Structure", "FAT Directory Structure". Times are written as UTC.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dibo.errors import LayoutError, OutputError
from dibo.formats.fat.geometry import (
    BACKUP_SECTOR,
    ENTRY,
    FATS,
    FSINFO_SECTOR,
    MEDIA,
    Geometry,
    boot_sector,
    choose_geometry,
    fsinfo_sector,
)
from dibo.formats.fat.names import check_name, fold, long_entries, short_names
from dibo.formats.labels import LIMITS
from dibo.formats.sparse import put
from dibo.formats.target import Target
from dibo.units import human_size

_ATTR_VOLUME_ID = 0x08
_ATTR_DIRECTORY = 0x10
_ATTR_ARCHIVE = 0x20
_MAX_FILE = 0xFFFFFFFF
_MAX_DIRECTORY = 65536 * ENTRY
_EARLIEST = int(datetime(1980, 1, 1, tzinfo=UTC).timestamp())
_LATEST = int(datetime(2107, 12, 31, 23, 59, 58, tzinfo=UTC).timestamp())


@dataclass(slots=True, kw_only=True)
class FatNode:
    """A file (`data`) or a directory (`children`), and where it goes once that is known."""

    name: str
    path: str
    data: bytes | None = None
    """None of a directory; nothing of a file that has been written."""
    written: bool = False
    mtime: int
    """Seconds since 1970."""
    children: dict[str, FatNode] = field(default_factory=dict)
    """By the folded name."""
    size: int = 0
    first: int = 0
    clusters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FatVolume:
    """Where a FAT is written, and what it is called."""

    target: Target
    offset: int
    """Its first byte in the target."""
    label: str
    serial: int


def write_fat(volume: FatVolume, *, size: int, files: Mapping[str, bytes], mtime: int) -> None:
    """Write a FAT of `size` bytes, where zeros must be read until now.

    `files` maps paths (EFI/BOOT/BOOTX64.EFI) to contents; directories are made as needed. All times are
    `mtime`, in seconds since 1970, within what FAT can say. Raises LayoutError when the files do not fit, and
    OutputError for names that FAT cannot hold or tell apart.
    """
    geometry = choose_geometry(size)
    root = FatNode(name="", path="", mtime=mtime)
    for path, data in sorted(files.items()):
        add_file(root, path, data, mtime=mtime)
    write_tree(volume, root, geometry, cursor=0)


def write_tree(volume: FatVolume, root: FatNode, geometry: Geometry, *, cursor: int, freed: int = 0) -> None:
    """Write all of the file system but files that have been written: they are in the first `cursor` clusters, of which
    `freed` are free again."""
    target, offset = volume.target, volume.offset
    raw_label = _encode_label(volume.label)
    measure(root, labelled=bool(volume.label))
    used = _allocate(root, geometry, cursor)

    boot = boot_sector(
        geometry,
        hidden=offset // geometry.sector,
        serial=volume.serial,
        label=raw_label or b"NO NAME    ",
        root=root.first or 2,
    )
    put(target, offset, boot)
    if geometry.bits == 32:
        free = geometry.clusters - used + freed
        info = fsinfo_sector(free=free, next_free=min(used + 2, geometry.clusters + 1))
        put(target, offset + FSINFO_SECTOR * geometry.sector, info)
        put(target, offset + BACKUP_SECTOR * geometry.sector, boot + info)
    table = _encode_table(root, geometry.bits, used)
    for copy in range(FATS):
        put(target, offset + (geometry.reserved + copy * geometry.sectors_per_fat) * geometry.sector, table)
    for node in walk(root):
        if not node.written:
            data = _encode_directory(node, root, raw_label) if node.data is None else node.data
            put(target, offset + _position(node, geometry), data)


def _encode_label(label: str) -> bytes:
    raw = label.encode("ascii", errors="replace")
    if (
        len(raw) > LIMITS["vfat"]
        or raw.translate(None, b'"*+,./:;<=>?[\\]|') != raw
        or label != label.upper().strip()
    ):
        raise LayoutError(
            f"{label!r} cannot be the label of a FAT: at most {LIMITS['vfat']} capitals, digits and signs"
        )
    return raw.ljust(11) if raw else b""


def add_file(root: FatNode, path: str, data: bytes, *, mtime: int) -> None:
    """Put a file into the tree, with the directories that it lies in. Raises OutputError."""
    *parents, name = path.split("/")
    directory = root
    for parent in parents:
        directory = enter(directory, parent, mtime=mtime)
    check_size(path, len(data))
    add(directory, FatNode(name=name, path=path, data=data, size=len(data), mtime=mtime))


def check_size(path: str, size: int) -> None:
    if size > _MAX_FILE:
        raise OutputError(f"FAT cannot hold {path!r}: {human_size(size)} are more than 4 GiB")


def enter(directory: FatNode, name: str, *, mtime: int) -> FatNode:
    """The directory of that name, made where there is none."""
    child = directory.children.get(fold(name))
    if child is None or child.name != name:
        child = FatNode(name=name, path=f"{directory.path}/{name}".lstrip("/"), mtime=mtime)
        add(directory, child)
    if child.data is not None:
        raise OutputError(f"{child.path!r} is to be both a file and a directory")
    return child


def add(directory: FatNode, child: FatNode) -> None:
    """Raises OutputError for names that FAT cannot hold or tell apart."""
    check_name(child.name, path=child.path)
    present = directory.children.setdefault(fold(child.name), child)
    if present is not child:
        raise OutputError(
            f"FAT cannot tell {present.path!r} and {child.path!r} apart",
            hint="capitals and small letters are the same to FAT: rename one",
        )


def measure(root: FatNode, *, labelled: bool) -> None:
    """The size of each directory: it follows from the names in it."""
    for node in walk(root):
        if node.data is not None:
            continue
        aliases = short_names([child.name for child in node.children.values()])
        names = sum(len(long_entries(name, alias)) + ENTRY for name, alias in aliases.items())
        node.size = names + (ENTRY * labelled if node is root else 2 * ENTRY)
        if node.size > _MAX_DIRECTORY:
            raise OutputError(f"FAT cannot hold the directory {node.path!r}: it has too many names")


def _allocate(root: FatNode, geometry: Geometry, cursor: int) -> int:
    """Give every node its clusters, in order, from `cursor` on; where they end. An empty file has none."""
    if geometry.root_sectors and root.size > geometry.root_sectors * geometry.sector:
        raise OutputError(f"the root directory of a FAT{geometry.bits} has no room for so many names")
    used = cursor
    for node in walk(root):
        if node.written or (node is root and geometry.root_sectors):
            continue
        least = 1 if node.data is None else 0
        node.clusters = max(least, -(-node.size // geometry.cluster_size))
        node.first = used + 2 if node.clusters else 0
        used += node.clusters
    if used > geometry.clusters:
        missing = (used - geometry.clusters) * geometry.cluster_size
        raise LayoutError(
            f"the files for the FAT do not fit into {human_size(geometry.sectors * geometry.sector)}:"
            f" {human_size(missing)} are missing",
            hint="make the partition larger in the layout",
        )
    return used


def walk(node: FatNode) -> Iterator[FatNode]:
    """It and all below it, names in order."""
    yield node
    for _, child in sorted(node.children.items()):
        yield from walk(child)


def _position(node: FatNode, geometry: Geometry) -> int:
    """Bytes from the start of the file system."""
    if node.clusters == 0:
        return geometry.root_start * geometry.sector
    return geometry.data_start * geometry.sector + (node.first - 2) * geometry.cluster_size


def _encode_table(root: FatNode, bits: int, used: int) -> bytes:
    """The used part of the FAT. Each cluster names the next one; the first two entries are not clusters."""
    end = (1 << min(bits, 28)) - 1
    links = array("I", bytes(4 * (used + 2)))
    links[0], links[1] = end & ~0xFF | MEDIA, end
    for node in walk(root):
        if node.clusters:
            last = node.first + node.clusters - 1
            links[node.first : last] = array("I", range(node.first + 1, last + 1))
            links[last] = end
    if bits != 12:
        return struct.pack(f"<{len(links)}{'H' if bits == 16 else 'I'}", *links)
    packed = bytearray()
    for low, high in zip(links[::2], [*links[1::2], 0], strict=False):
        packed += (low | high << 12).to_bytes(3, "little")
    return bytes(packed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stamp:
    date: int
    time: int
    hundredths: int

    @classmethod
    def of(cls, mtime: int) -> _Stamp:
        when = datetime.fromtimestamp(min(max(mtime, _EARLIEST), _LATEST), tz=UTC)
        return cls(
            date=(when.year - 1980) << 9 | when.month << 5 | when.day,
            time=when.hour << 11 | when.minute << 5 | when.second // 2,
            hundredths=when.second % 2 * 100,
        )


def _encode_directory(node: FatNode, root: FatNode, label: bytes) -> bytes:
    entries = []
    stamp = _Stamp.of(node.mtime)
    if node is root:
        if label:
            entries.append(_encode_entry(label, _ATTR_VOLUME_ID, stamp))
    else:
        parent = _parent(root, node)
        entries.append(_encode_entry(b".".ljust(11), _ATTR_DIRECTORY, stamp, first=node.first))
        # The root is cluster 0 here, even where it has a number (fatgen103, on dotdot).
        above = 0 if parent is root else parent.first
        entries.append(_encode_entry(b"..".ljust(11), _ATTR_DIRECTORY, stamp, first=above))
    aliases = short_names([child.name for child in node.children.values()])
    for _, child in sorted(node.children.items()):
        alias = aliases[child.name]
        attributes = _ATTR_DIRECTORY if child.data is None else _ATTR_ARCHIVE
        size = 0 if child.data is None else child.size
        entries.append(long_entries(child.name, alias))
        stamp = _Stamp.of(child.mtime)
        entries.append(_encode_entry(alias, attributes, stamp, first=child.first, size=size))
    return b"".join(entries)


def _parent(root: FatNode, node: FatNode) -> FatNode:
    parent = root
    for name in node.path.split("/")[:-1]:
        parent = parent.children[fold(name)]
    return parent


def _encode_entry(name: bytes, attributes: int, stamp: _Stamp, *, first: int = 0, size: int = 0) -> bytes:
    made = attributes != _ATTR_VOLUME_ID
    return struct.pack(
        "<11sBBBHHHHHHHI",
        name,
        attributes,
        0,
        stamp.hundredths if made else 0,
        stamp.time if made else 0,
        stamp.date if made else 0,
        stamp.date if made else 0,
        first >> 16,
        stamp.time,
        stamp.date,
        first & 0xFFFF,
        size,
    )

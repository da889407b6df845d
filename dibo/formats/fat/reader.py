"""FAT12, FAT16 and FAT32 with long names, for reading; dibo/formats/fat/geometry.py and
dibo/formats/fat/build.py draw the format.

Names are those that Linux shows, in UTF-8, and are found whatever their case. Microsoft's fatgen103.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dibo.errors import DiskImageError
from dibo.formats import magic
from dibo.formats.fat.geometry import ENTRY
from dibo.formats.filesystem import FileEntry, Kind, whole
from dibo.formats.source import Recent, Source, pieces

_BPB: Final = struct.Struct("<HBHBHHxHHHII")
_MOST_DIRECTORY: Final = 65536 * ENTRY
_DIRECTORY: Final = 0x10
_VOLUME: Final = 0x08
_LONG: Final = 0x0F
_DELETED: Final = 0xE5
_LOWER_BASE: Final = 0x08
_LOWER_EXTENSION: Final = 0x10
_TABLE_PIECE: Final = 3 << 14  # whole entries of 12, 16 and 32 bits
_KEPT: Final = 4 << 20


def is_fat(head: bytes) -> bool:
    """Whether a volume that begins with this sector has a FAT."""
    if (
        len(head) < 512
        or not head.startswith(magic.BOOT_SIGNATURE, magic.BOOT_SIGNATURE_AT)
        or head[0] not in (0xEB, 0xE9)
    ):
        return False
    sector, per_cluster, reserved, fats, *_ = _BPB.unpack_from(head, 11)
    kind = head[54:62], head[82:90]
    return (
        sector in (512, 1024, 2048, 4096)
        and per_cluster > 0
        and per_cluster & (per_cluster - 1) == 0
        and reserved > 0
        and 0 < fats <= 4
        and any(label.startswith(b"FAT") for label in kind)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _At:
    """First cluster; 0 is nothing, and for a directory the root."""

    cluster: int


class Fat:
    """A FileSystem. Raises DiskImageError, here and in every method."""

    kind = "vfat"

    def __init__(self, source: Source) -> None:
        self._source = source
        head = source.read(0, 512)
        if not is_fat(head):
            raise DiskImageError("the boot sector of the FAT is damaged")
        sector, per_cluster, reserved, fats, roots, few, short, _, _, _, many = _BPB.unpack_from(head, 11)
        per_fat = short or struct.unpack_from("<I", head, 36)[0]
        self._table = reserved * sector
        self._root_at = self._table + fats * per_fat * sector
        self._root_size = -(-roots * ENTRY // sector) * sector
        self._data = self._root_at + self._root_size
        self._cluster = per_cluster * sector
        self._clusters = ((few or many) * sector - self._data) // self._cluster
        self._bits = 12 if self._clusters < 4085 else 16 if self._clusters < 65525 else 32
        wide = short == 0
        if self._clusters <= 0 or per_fat <= 0 or (wide and roots):
            raise DiskImageError("the boot sector of the FAT is damaged")
        if wide:
            self._bits = 32
        self._clusters = min(self._clusters, per_fat * sector * 8 // self._bits - 2)
        self._first = struct.unpack_from("<I", head, 44)[0] if wide else 0
        extended = 66 if wide else 38
        serial = struct.unpack_from("<I", head, extended + 1)[0]
        self.uuid = f"{serial >> 16:04X}-{serial & 0xFFFF:04X}"
        self.label = head[extended + 5 : extended + 16].decode("ascii", errors="replace").strip(" \0")
        self._recent = Recent(_KEPT)
        self._directories: dict[int, dict[bytes, tuple[bytes, FileEntry]]] = {}

    @property
    def root(self) -> FileEntry:
        return FileEntry(kind=Kind.DIRECTORY, size=0, handle=_At(cluster=self._first))

    def names(self, directory: FileEntry) -> tuple[bytes, ...]:
        return tuple(sorted(name for name, _ in self._listed(directory).values()))

    def lookup(self, directory: FileEntry, name: bytes) -> FileEntry | None:
        entry = self._listed(directory).get(_folded(name))
        return None if entry is None else entry[1]

    def target(self, link: FileEntry) -> bytes:  # noqa: ARG002 (there are none)
        return b""

    def content(self, file: FileEntry) -> Iterator[bytes]:
        left = file.size
        for first, count in self._chain(_at(file), -(-file.size // self._cluster)):
            size = min(left, count * self._cluster)
            yield from pieces(self._source, self._data + (first - 2) * self._cluster, size)
            left -= size
        if left:
            raise DiskImageError(f"a file of the FAT has {file.size} bytes, and clusters for {left} less")

    def _chain(self, cluster: int, most: int) -> Iterator[tuple[int, int]]:
        """Runs of clusters, `most` of them in all: first, how many."""
        first = count = taken = 0
        while taken < most and 2 <= cluster < self._clusters + 2:
            if count and cluster == first + count:
                count += 1
            else:
                if count:
                    yield first, count
                first, count = cluster, 1
            taken += 1
            cluster = self._next(cluster)
        if count:
            yield first, count

    def _next(self, cluster: int) -> int:
        at, odd = divmod(cluster * self._bits, 8)
        piece, within = divmod(at, _TABLE_PIECE)
        block = self._recent.get(piece)
        if block is None:
            start = self._table + piece * _TABLE_PIECE
            block = self._recent.put(
                piece, self._source.read(start, min(_TABLE_PIECE, self._root_at - start))
            )
        value = int.from_bytes(block[within : within + (4 if self._bits == 32 else 2)], "little")
        if self._bits == 12:
            value = value >> 4 if odd else value & 0xFFF
        return value & 0x0FFFFFFF

    def _listed(self, directory: FileEntry) -> dict[bytes, tuple[bytes, FileEntry]]:
        cluster = _at(directory)
        entries = self._directories.get(cluster)
        if entries is None:
            if cluster:
                most = _MOST_DIRECTORY // self._cluster or 1
                size = sum(count for _, count in self._chain(cluster, most)) * self._cluster
                data = whole(
                    self,
                    FileEntry(kind=Kind.DIRECTORY, size=size, handle=_At(cluster=cluster)),
                    limit=max(_MOST_DIRECTORY, self._cluster),
                    description="a directory of the FAT",
                )
            else:
                data = self._source.read(self._root_at, self._root_size)
            entries = {}
            for name, entry in _entries(data):
                entries.setdefault(_folded(name), (name, entry))
            self._directories[cluster] = entries
        return entries


def _entries(data: bytes) -> Iterator[tuple[bytes, FileEntry]]:
    parts: dict[int, bytes] = {}
    checksum = -1
    for at in range(0, len(data) - ENTRY + 1, ENTRY):
        raw = data[at : at + ENTRY]
        if not raw[0]:
            return
        if raw[0] == _DELETED:
            parts = {}
        elif raw[11] & 0x3F == _LONG:
            if raw[0] & 0x40 or raw[13] != checksum:
                parts, checksum = {}, raw[13]
            parts[raw[0] & 0x1F] = raw[1:11] + raw[14:26] + raw[28:32]
        else:
            long, parts = parts, {}
            if raw[11] & _VOLUME:
                continue
            name = _long_name(long) if long and checksum == _checksum(raw[:11]) else None
            name = name or _short_name(raw)
            if name in (b".", b"..", b"") or b"/" in name or b"\0" in name:
                continue
            high, low, size = struct.unpack_from("<H4xHI", raw, 20)
            directory = bool(raw[11] & _DIRECTORY)
            kind = Kind.DIRECTORY if directory else Kind.FILE
            cluster = low | high << 16
            if directory and not cluster:
                continue
            yield name, FileEntry(kind=kind, size=0 if directory else size, handle=_At(cluster=cluster))


def _long_name(parts: dict[int, bytes]) -> bytes | None:
    if sorted(parts) != list(range(1, len(parts) + 1)):
        return None
    text = b"".join(parts[number] for number in sorted(parts)).decode("utf-16-le", errors="replace")
    return text.split("\0")[0].encode()


def _short_name(raw: bytes) -> bytes:
    base, extension = raw[:8].rstrip(b" "), raw[8:11].rstrip(b" ")
    if base[:1] == b"\x05":
        base = b"\xe5" + base[1:]
    base = base.lower() if raw[12] & _LOWER_BASE else base
    extension = extension.lower() if raw[12] & _LOWER_EXTENSION else extension
    return (base + b"." + extension if extension else base).decode("cp437").encode()


def _checksum(name: bytes) -> int:
    total = 0
    for byte in name:
        total = ((total >> 1 | total << 7) + byte) & 0xFF
    return total


def _folded(name: bytes) -> bytes:
    return name.decode(errors="replace").lower().encode()


def _at(entry: FileEntry) -> int:
    assert isinstance(entry.handle, _At)
    return entry.handle.cluster

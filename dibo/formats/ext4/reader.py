"""ext2, ext3 and ext4, as far as reading files goes.

    superblock, byte 1024                     group descriptor, 32 bytes or as 0xfe of the superblock says
     0x04 u32 blocks, low    0x58 u16 bytes    0x08 u32 first block of the inode table, low
     0x14 u32 first data          of an inode  0x28 u32 high, with 64bit
     0x18 u32 log2(block)-10 0x5c u32 compatible
     0x20 u32 blocks/group   0x60 u32 incompatible    inode
     0x28 u32 inodes/group   0x64 u32 read-only        0x00 u16 mode      0x20 u32 flags
     0x38 u16 0xef53         0x68 UUID, 0x78 label     0x04 u32 size, low 0x28 60 bytes: blocks, or a short target
     0x104 u32 first meta_bg 0xfe u16 descriptor       0x1c u32 sectors   0x68 u32 block of attributes
                                                       0x6c u32 size, high

    directory, in each block: u32 inode (0: unused), u16 length of the entry, u8 of the name, u8 type, name

Directories with an index (htree) are read as lists: the index hides in entries that are unused. Checksums are not
looked at: what matters is checked by itself, and a reader that wants the kernel out of a damaged image should have
it. Nor is the journal replayed; `needs_recovery` says that it would have to be. Linux kernel documentation:
filesystems/ext4.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from dibo.errors import DiskImageError
from dibo.formats import magic
from dibo.formats.ext4.reader_blocks import Run, extents, indirect
from dibo.formats.filesystem import Entry, Kind, whole
from dibo.formats.source import PIECE, Source, pieces

_SUPERBLOCK: Final = 1024
_ROOT: Final = 2
_JOURNAL: Final = 0x4
_RECOVER: Final = 0x4
_META_BG: Final = 0x10
_EXTENTS: Final = 0x40
_64BIT: Final = 0x80
# filetype, recover, meta_bg, extents, 64bit, mmp, flex_bg, ea_inode, csum_seed, largedir, inline_data, encrypt,
# casefold: what these mean for one file is seen at its inode
_KNOWN: Final = (
    0x2 | _RECOVER | _META_BG | _EXTENTS | _64BIT | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x38000
)
_SPARSE_SUPER: Final = 0x1
_SPARSE_SUPER2: Final = 0x200
_EXT4_ONLY: Final = _EXTENTS | _64BIT | 0x200
_INODE_EXTENTS: Final = 0x80000
_INODE_ENCRYPTED: Final = 0x800
_INODE_INLINE: Final = 0x10000000
_FAST_SYMLINK: Final = 60
_MOST_TARGET: Final = 4096
_MOST_DIRECTORY: Final = 64 << 20
_KINDS: Final = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.LINK}


def is_ext(head: bytes) -> bool:
    """Whether a volume that begins with these 2 KiB has one of them."""
    return len(head) >= 2 * _SUPERBLOCK and head.startswith(magic.EXT, magic.EXT_AT)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inode:
    number: int
    flags: int
    sectors: int
    block: bytes
    attributes: int


class Ext:
    """A FileSystem. Raises DiskImageError, here and in every method."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._directories: dict[int, dict[bytes, int]] = {}
        superblock = source.read(_SUPERBLOCK, 1024)
        u32 = _u32(superblock)
        compatible, incompatible, self._read_only = u32(0x5C), u32(0x60), u32(0x64)
        if incompatible & ~_KNOWN:
            raise DiskImageError(
                f"the ext4 has features that dibo does not know: {incompatible & ~_KNOWN:#x}"
            )
        if u32(0x18) > 6:
            raise DiskImageError(f"the ext4 claims to have blocks of 2^{u32(0x18) + 10} bytes")
        self._block = 1024 << u32(0x18)
        self._first, self._per_group, self._inodes_per_group = u32(0x14), u32(0x20), u32(0x28)
        self._inodes = u32(0)
        dynamic = u32(0x4C) > 0
        self._inode_size = struct.unpack_from("<H", superblock, 0x58)[0] if dynamic else 128
        wide = bool(incompatible & _64BIT)
        self._descriptor = struct.unpack_from("<H", superblock, 0xFE)[0] if wide else 32
        self._blocks = u32(0x04) | (u32(0x150) << 32 if wide else 0)
        self._first_meta = u32(0x104) if incompatible & _META_BG else 1 << 32
        self._backups = (u32(0x24C), u32(0x250)) if compatible & _SPARSE_SUPER2 else None
        if (
            not 128 <= self._inode_size <= self._block
            or not 32 <= self._descriptor <= self._block
            or not 0 < self._inodes_per_group <= self._block * 8
            or not self._per_group
            or self._first > 1
        ):
            raise DiskImageError("the superblock of the ext4 is damaged")
        self.kind = "ext4" if incompatible & _EXT4_ONLY else "ext3" if compatible & _JOURNAL else "ext2"
        self.uuid = str(UUID(bytes=superblock[0x68:0x78]))
        self.label = superblock[0x78:0x88].split(b"\0")[0].decode(errors="replace")
        self.needs_recovery = bool(incompatible & _RECOVER)

    @property
    def root(self) -> Entry:
        entry = self._entry(_ROOT)
        if entry.kind is not Kind.DIRECTORY:
            raise DiskImageError(f"the root of the {self.kind} is no directory")
        return entry

    def names(self, directory: Entry) -> tuple[bytes, ...]:
        return tuple(sorted(self._listed(directory)))

    def lookup(self, directory: Entry, name: bytes) -> Entry | None:
        number = self._listed(directory).get(name)
        return None if number is None else self._entry(number)

    def target(self, link: Entry) -> bytes:
        inode = _inode(link)
        used = inode.sectors - (self._block // 512 if inode.attributes else 0)
        if not inode.flags & _INODE_EXTENTS and link.size < _FAST_SYMLINK and not used:
            return inode.block[: link.size]
        return whole(self, link, limit=_MOST_TARGET, what="a symbolic link")

    def content(self, file: Entry) -> Iterator[bytes]:
        """Raises DiskImageError for files that are encrypted, or kept within their inode (inline_data)."""
        at = 0
        for logical, block, count in self._runs(file):
            start = logical * self._block
            yield from _zeros(start - at)
            at = min(start + count * self._block, file.size)
            yield from pieces(self._source, block * self._block, at - start)
        yield from _zeros(file.size - at)

    def _runs(self, file: Entry) -> Iterator[Run]:
        inode = _inode(file)
        for flag, what in (
            (_INODE_ENCRYPTED, "encrypted"),
            (_INODE_INLINE, "within its inode (inline_data)"),
        ):
            if inode.flags & flag:
                raise DiskImageError(
                    f"inode {inode.number} of the {self.kind} is {what}; dibo cannot read that"
                )
        read = extents if inode.flags & _INODE_EXTENTS else indirect
        for logical, block, count in read(inode.block, self._read_block, -(-file.size // self._block)):
            if not 0 < block <= block + count <= self._blocks:
                raise DiskImageError(f"inode {inode.number} of the {self.kind} has blocks beyond its end")
            yield logical, block, count

    def _read_block(self, number: int) -> bytes:
        if not 0 < number < self._blocks:
            raise DiskImageError(f"block {number} is wanted of a {self.kind} of {self._blocks}")
        return self._source.read(number * self._block, self._block)

    def _entry(self, number: int) -> Entry:
        if not 0 < number <= self._inodes:
            raise DiskImageError(f"inode {number} is wanted of a {self.kind} that has {self._inodes}")
        group, index = divmod(number - 1, self._inodes_per_group)
        offset = self._table(group) * self._block + index * self._inode_size
        raw = self._source.read(offset, 128)
        u32 = _u32(raw)
        mode = struct.unpack_from("<H", raw)[0]
        inode = _Inode(
            number=number, flags=u32(0x20), sectors=u32(0x1C), block=raw[0x28:0x64], attributes=u32(0x68)
        )
        kind = _KINDS.get(stat.S_IFMT(mode), Kind.OTHER)
        owner, group, high_owner, high_group = (
            struct.unpack_from("<H", raw, at)[0] for at in (0x02, 0x18, 0x78, 0x7A)
        )
        return Entry(
            kind=kind,
            size=u32(4) | u32(0x6C) << 32,
            where=inode,
            attributes=(mode, owner | high_owner << 16, group | high_group << 16, u32(0x10)),
        )

    def _table(self, group: int) -> int:
        """First block of a group's inode table."""
        per_block = self._block // self._descriptor
        index, place = divmod(group, per_block)
        if index < self._first_meta:
            block = (self._block == _SUPERBLOCK) + 1 + index
        else:
            leader = index * per_block
            block = self._first + leader * self._per_group + self._has_superblock(leader)
            if not leader and self._block == _SUPERBLOCK and not self._first:
                block += 1  # bigalloc: the superblock is in block 1 all the same
        descriptor = self._source.read(block * self._block + place * self._descriptor, self._descriptor)
        u32 = _u32(descriptor)
        table = u32(0x08) | (u32(0x28) << 32 if self._descriptor >= 64 else 0)
        if not 0 < table < self._blocks:
            raise DiskImageError(f"a group of the {self.kind} has its inodes in block {table}")
        return table

    def _has_superblock(self, group: int) -> bool:
        if self._backups is not None:
            return group == 0 or group in self._backups
        if not self._read_only & _SPARSE_SUPER or group < 2:
            return True
        return any(group == base**power for base in (3, 5, 7) for power in range(1, 21))

    def _listed(self, directory: Entry) -> dict[bytes, int]:
        inode = _inode(directory)
        found = self._directories.get(inode.number)
        if found is None:
            data = whole(self, directory, limit=_MOST_DIRECTORY, what=f"a directory of the {self.kind}")
            found = self._directories[inode.number] = dict(self._entries(data))
        return found

    def _entries(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        at = 0
        while at + 8 <= len(data):
            number, length, size = struct.unpack_from("<IHB", data, at)
            left = self._block - at % self._block
            if length in (0, 0xFFFF) and self._block == 1 << 16:
                length = left  # 64 KiB do not fit 16 bits
            if length < 8 + size or length > left or length % 4:
                raise DiskImageError(f"a directory of the {self.kind} is damaged")
            name = data[at + 8 : at + 8 + size]
            if number and name not in (b".", b"..", b"") and b"/" not in name and b"\0" not in name:
                yield name, number
            at += length


def _u32(data: bytes) -> _Numbers:
    return _Numbers(data)


class _Numbers:
    """32 bits at an offset."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __call__(self, at: int) -> int:
        return int.from_bytes(self._data[at : at + 4], "little")


def _inode(entry: Entry) -> _Inode:
    assert isinstance(entry.where, _Inode)
    return entry.where


def _zeros(size: int) -> Iterator[bytes]:
    while size > 0:
        yield bytes(min(size, PIECE))
        size -= PIECE

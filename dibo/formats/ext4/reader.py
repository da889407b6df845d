"""ext2, ext3 and ext4, as far as reading files goes. Structures: structures.py.

    directory, in each block: u32 inode (0: unused), u16 length of the entry, u8 of the name, u8 type, name

Directories with an index (htree) are read as lists: the index hides in entries that are unused. Checksums are not
looked at: what matters is checked by itself, and it should be possible to read the kernel from a damaged
image. Nor is the journal replayed; `needs_recovery` says that it would have to be. Linux kernel documentation:
filesystems/ext4.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from dibo.errors import DiskImageError
from dibo.formats import magic
from dibo.formats.ext4.reader_blocks import Run, extents, indirect
from dibo.formats.ext4.structures import (
    GROUP,
    GROUP_SIZE,
    GROUP_SIZE_64,
    INODE,
    INODE_SIZE,
    SUPERBLOCK,
    SUPERBLOCK_AT,
    SUPERBLOCK_SIZE,
    Compatible,
    Incompatible,
    InodeFlags,
    ReadOnly,
)
from dibo.formats.ext4.xattr_reader import LARGEST_VALUE, read_attributes
from dibo.formats.ext4.xattrs import inline_attribute
from dibo.formats.filesystem import FileEntry, Kind, whole
from dibo.formats.source import PIECE, Source, pieces

_ROOT: Final = 2
_KNOWN: Final = (  # what these mean for one file is seen at its inode
    Incompatible.FILETYPE
    | Incompatible.RECOVER
    | Incompatible.META_BG
    | Incompatible.EXTENTS
    | Incompatible.BITS_64
    | Incompatible.MMP
    | Incompatible.FLEX_BG
    | Incompatible.EA_INODE
    | Incompatible.CSUM_SEED
    | Incompatible.LARGEDIR
    | Incompatible.INLINE_DATA
    | Incompatible.ENCRYPT
    | Incompatible.CASEFOLD
)
_EXT4_ONLY: Final = Incompatible.EXTENTS | Incompatible.BITS_64 | Incompatible.FLEX_BG
_INLINE_PARENT: Final = 4
"""Bytes in front of the entries of a directory within its inode: the inode above it."""
_FAST_SYMLINK: Final = 60
_LARGEST_BLOCK: Final = 6
_LARGEST_CLUSTER: Final = 18
_MTIME_EXTRA_END: Final = 0x8C - 0x80
"""Bytes behind the 128 that an inode has in use where the time of its last change has a second part."""
_MOST_TARGET: Final = 4096
_MOST_DIRECTORY: Final = 64 << 20
_KINDS: Final = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.LINK}


def is_ext(head: bytes) -> bool:
    """Whether a volume that begins with these 2 KiB has one of them."""
    return len(head) >= SUPERBLOCK_AT + SUPERBLOCK_SIZE and head.startswith(magic.EXT, magic.EXT_AT)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inode:
    number: int
    flags: int
    sectors: int
    block: bytes
    attributes: int
    body: bytes
    """What follows the known fields: attributes."""


class Ext:
    """A FileSystem. Raises DiskImageError, here and in every method."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._directories: dict[int, dict[bytes, int]] = {}
        superblock = source.read(SUPERBLOCK_AT, SUPERBLOCK_SIZE)

        def field(name: str) -> Any:
            return SUPERBLOCK.get(superblock, name)

        compatible, incompatible = field("s_feature_compat"), field("s_feature_incompat")
        self._read_only = field("s_feature_ro_compat")
        if incompatible & ~_KNOWN:
            raise DiskImageError(
                f"the ext4 has features that dibo does not know: {incompatible & ~_KNOWN:#x}"
            )
        if field("s_log_block_size") > _LARGEST_BLOCK or field("s_log_cluster_size") > _LARGEST_CLUSTER:
            raise DiskImageError(
                f"the ext4 claims to have blocks of 2^{field('s_log_block_size') + 10} bytes"
            )
        self._block = 1024 << field("s_log_block_size")
        self._cluster = max(self._block, 1024 << field("s_log_cluster_size"))
        self._attributes_elsewhere = bool(incompatible & Incompatible.EA_INODE)
        self._first = field("s_first_data_block")
        self._per_group, self._inodes_per_group = field("s_blocks_per_group"), field("s_inodes_per_group")
        self._inodes = field("s_inodes_count")
        self._inode_size = field("s_inode_size") if field("s_rev_level") else INODE_SIZE
        wide = bool(incompatible & Incompatible.BITS_64)
        self._descriptor = field("s_desc_size") if wide else GROUP_SIZE
        self._blocks = field("s_blocks_count_lo") | (field("s_blocks_count_hi") << 32 if wide else 0)
        self._first_meta = field("s_first_meta_bg") if incompatible & Incompatible.META_BG else 1 << 32
        backups = field("s_backup_bg_0"), field("s_backup_bg_1")
        self._backups = backups if compatible & Compatible.SPARSE_SUPER2 else None
        if (
            not INODE_SIZE <= self._inode_size <= self._block
            or not GROUP_SIZE <= self._descriptor <= self._block
            or not 0 < self._inodes_per_group <= self._block * 8
            or not self._per_group
            or self._first > 1
        ):
            raise DiskImageError("the superblock of the ext4 is damaged")
        journal = compatible & Compatible.HAS_JOURNAL
        self.kind = "ext4" if incompatible & _EXT4_ONLY else "ext3" if journal else "ext2"
        self.uuid = str(UUID(bytes=field("s_uuid")))
        self.label = field("s_volume_name").split(b"\0")[0].decode(errors="replace")
        self.needs_recovery = bool(incompatible & Incompatible.RECOVER)

    @property
    def root(self) -> FileEntry:
        entry = self._entry(_ROOT)
        if entry.kind is not Kind.DIRECTORY:
            raise DiskImageError(f"the root of the {self.kind} is no directory")
        return entry

    def names(self, directory: FileEntry) -> tuple[bytes, ...]:
        return tuple(sorted(self._listed(directory)))

    def lookup(self, directory: FileEntry, name: bytes) -> FileEntry | None:
        number = self._listed(directory).get(name)
        return None if number is None else self._entry(number)

    def target(self, link: FileEntry) -> bytes:
        """As ext4_inode_is_fast_symlink() of the kernel's fs/ext4/inode.c tells them apart."""
        inode = _inode(link)
        attributes = self._cluster // 512 if inode.attributes else 0
        fast = link.size < _FAST_SYMLINK and (self._attributes_elsewhere or inode.sectors == attributes)
        if fast and not inode.flags & (InodeFlags.INLINE_DATA | InodeFlags.ENCRYPTED):
            return inode.block[: link.size]
        return whole(self, link, limit=_MOST_TARGET, description="a symbolic link")

    def content(self, file: FileEntry) -> Iterator[bytes]:
        """Raises DiskImageError for files that are encrypted."""
        if _inode(file).flags & InodeFlags.INLINE_DATA and not _inode(file).flags & InodeFlags.ENCRYPTED:
            yield self._inline(file)
            return
        at = 0
        for logical, block, count in self._runs(file):
            start = logical * self._block
            yield from _zeros(start - at)
            at = min(start + count * self._block, file.size)
            yield from pieces(self._source, block * self._block, at - start)
        yield from _zeros(file.size - at)

    def inode(self, identity: int) -> FileEntry:
        return self._entry(identity)

    def device(self, entry: FileEntry) -> tuple[int, int]:
        """The old number, else the new one: old_decode_dev(), new_decode_dev() of the kernel's linux/kdev_t.h."""
        old, new = struct.unpack_from("<II", _inode(entry).block)
        return (old >> 8 & 0xFF, old & 0xFF) if old else (new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xFFF00)

    def xattrs(self, entry: FileEntry) -> dict[bytes, bytes]:
        """Those in the inode and in its block; values in inodes of their own (ea_inode) included."""
        inode = _inode(entry)
        block = self._read_block(inode.attributes) if inode.attributes else b""
        return read_attributes(inode.body, block, self._large_value)

    def _large_value(self, number: int, size: int) -> bytes:
        value = self._entry(number)
        if value.size != size or value.kind is not Kind.FILE:
            raise DiskImageError(f"an extended attribute of the {self.kind} is damaged")
        return whole(self, value, limit=LARGEST_VALUE, description="an extended attribute")

    def _inline(self, file: FileEntry) -> bytes:
        """A file within its inode: what is beyond 60 bytes is an attribute (inline_data)."""
        inode = _inode(file)
        data = inode.block + inline_attribute(inode.body)
        if len(data) < file.size:
            raise DiskImageError(f"inode {inode.number} of the {self.kind} has less in it than its size says")
        return data[: file.size]

    def _runs(self, file: FileEntry) -> Iterator[Run]:
        inode = _inode(file)
        if inode.flags & InodeFlags.ENCRYPTED:
            raise DiskImageError(
                f"inode {inode.number} of the {self.kind} is encrypted; dibo cannot read that"
            )
        read = extents if inode.flags & InodeFlags.EXTENTS else indirect
        for logical, block, count in read(inode.block, self._read_block, -(-file.size // self._block)):
            if not 0 < block <= block + count <= self._blocks:
                raise DiskImageError(f"inode {inode.number} of the {self.kind} has blocks beyond its end")
            yield logical, block, count

    def _read_block(self, number: int) -> bytes:
        if not 0 < number < self._blocks:
            raise DiskImageError(f"block {number} is outside of a {self.kind} of {self._blocks} blocks")
        return self._source.read(number * self._block, self._block)

    def _entry(self, number: int) -> FileEntry:
        if not 0 < number <= self._inodes:
            raise DiskImageError(f"inode {number} is outside of a {self.kind} with {self._inodes} inodes")
        group, index = divmod(number - 1, self._inodes_per_group)
        offset = self._table(group) * self._block + index * self._inode_size
        raw = self._source.read(offset, self._inode_size)

        def field(name: str) -> Any:
            return INODE.get(raw, name)

        extra = field("i_extra_isize") if self._inode_size > INODE_SIZE else 0
        inode = _Inode(
            number=number,
            flags=field("i_flags"),
            sectors=field("i_blocks_lo"),
            block=field("i_block"),
            attributes=field("i_file_acl_lo") | field("i_file_acl_high") << 32,
            body=raw[INODE_SIZE + extra :],
        )
        seconds = field("i_mtime")
        if extra >= _MTIME_EXTRA_END:
            seconds = (seconds ^ 1 << 31) - (1 << 31) + ((field("i_mtime_extra") & 3) << 32)
        return FileEntry(
            kind=_KINDS.get(stat.S_IFMT(field("i_mode")), Kind.OTHER),
            size=field("i_size_lo") | field("i_size_high") << 32,
            handle=inode,
            attributes=(
                field("i_mode"),
                field("i_uid") | field("i_uid_high") << 16,
                field("i_gid") | field("i_gid_high") << 16,
                seconds,
            ),
            identity=number,
        )

    def _table(self, group: int) -> int:
        """First block of a group's inode table."""
        per_block = self._block // self._descriptor
        index, place = divmod(group, per_block)
        if index < self._first_meta:
            block = (self._block == SUPERBLOCK_AT) + 1 + index
        else:
            leader = index * per_block
            block = self._first + leader * self._per_group + self._has_superblock(leader)
            if not leader and self._block == SUPERBLOCK_AT and not self._first:
                block += 1  # bigalloc: the superblock is in block 1 all the same
        descriptor = self._source.read(block * self._block + place * self._descriptor, self._descriptor)
        table: int = GROUP.get(descriptor, "bg_inode_table_lo")
        if self._descriptor >= GROUP_SIZE_64:
            table |= GROUP.get(descriptor, "bg_inode_table_hi") << 32
        if not 0 < table < self._blocks:
            raise DiskImageError(f"a group of the {self.kind} has its inodes in block {table}")
        return table

    def _has_superblock(self, group: int) -> bool:
        if self._backups is not None:
            return group == 0 or group in self._backups
        if not self._read_only & ReadOnly.SPARSE_SUPER or group < 2:
            return True
        return any(group == base**power for base in (3, 5, 7) for power in range(1, 21))

    def _listed(self, directory: FileEntry) -> dict[bytes, int]:
        inode = _inode(directory)
        entries = self._directories.get(inode.number)
        if entries is None:
            if inode.flags & InodeFlags.INLINE_DATA:
                parts = [inode.block[_INLINE_PARENT:], inline_attribute(inode.body)]
            else:
                parts = [
                    whole(
                        self, directory, limit=_MOST_DIRECTORY, description=f"a directory of the {self.kind}"
                    )
                ]
            entries = self._directories[inode.number] = {
                name: number for part in parts for name, number in self._entries(part)
            }
        return entries

    def _entries(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        at = 0
        while at + 8 <= len(data):
            number, length, size = struct.unpack_from("<IHB", data, at)
            left = min(self._block - at % self._block, len(data) - at)
            if length in (0, 0xFFFF) and self._block == 1 << 16:
                length = left  # 64 KiB do not fit 16 bits
            if length < 8 + size or length > left or length % 4:
                raise DiskImageError(f"a directory of the {self.kind} is damaged")
            name = data[at + 8 : at + 8 + size]
            if number and name not in (b".", b"..", b"") and b"/" not in name and b"\0" not in name:
                yield name, number
            at += length


def _inode(entry: FileEntry) -> _Inode:
    assert isinstance(entry.handle, _Inode)
    return entry.handle


def _zeros(size: int) -> Iterator[bytes]:
    while size > 0:
        yield bytes(min(size, PIECE))
        size -= PIECE

"""The second half of the writer: everything that is known only when the whole tree is.

First each inode gets its place, and so its node number; then directories, which name these, and inodes are written.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import google_crc32c

from dibo.formats.erofs.data import MOST_INLINE, ErofsContent, ErofsDataWriter
from dibo.formats.erofs.directory import blocks, directory_size, sorted_names
from dibo.formats.erofs.errors import ErofsError
from dibo.formats.erofs.structures import (
    BLOCK,
    BLOCK_BITS,
    CHECKSUM,
    CHECKSUM_AT,
    INLINE,
    INODE,
    MAGIC,
    MAX_BLOCKS,
    MTIME,
    PLAIN,
    SLOT,
    SUPERBLOCK,
    SUPERBLOCK_AT,
    TYPES,
    blocks_of,
    device_number,
)
from dibo.formats.erofs.xattrs import XattrTable, word_count
from dibo.formats.inode import InodeNode
from dibo.formats.target import Target

_LABEL: Final = 16
_SECOND: Final = 1_000_000_000
_ROOT: Final = 1
"""The node number of the root: zero is no number of an inode to readdir(3)."""
_FEW: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ErofsParameters:
    """What the caller decides. The same parameters and calls give the same bytes."""

    label: str = ""
    """At most 16 bytes of UTF-8."""
    uuid: UUID
    time: int = 0
    """Seconds since 1970: when the file system was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErofsSummary:
    """What was written."""

    size: int
    """Bytes of the file system, a multiple of 4096: the target is as long."""
    inodes: int


class _Inode:
    """One inode and its place."""

    __slots__ = (
        "attributes",
        "block",
        "blocks",
        "links",
        "names",
        "node",
        "number",
        "parent",
        "size",
        "tail",
    )

    def __init__(self, node: InodeNode, parent: _Inode | None) -> None:
        self.node = node
        self.parent = parent or self
        self.links = 0
        self.number = 0
        self.attributes = b""
        self.names: Sequence[bytes] = ()
        """Of a directory, "." and ".." among them."""
        self.size = 0
        self.block = self.blocks = 0
        self.tail: bytes | int | None = None
        """What follows the inode; of directories only how much, until all have their numbers."""

    @property
    def kind(self) -> int:
        return stat.S_IFMT(self.node.mode)

    @property
    def length(self) -> int:
        tail = self.tail if isinstance(self.tail, int) else len(self.tail or b"")
        return INODE.size + len(self.attributes) + tail


class ErofsWriter(ErofsDataWriter):
    """Writes one erofs: `begin`, `write` and `skip` for each file, then `finish`, once."""

    def __init__(self, target: Target, parameters: ErofsParameters) -> None:
        if len(parameters.label.encode()) > _LABEL:
            raise ErofsError(f"the label {parameters.label!r} is longer than {_LABEL} bytes")
        super().__init__(target)
        self.parameters = parameters
        self._inodes: dict[InodeNode, _Inode] = {}
        self._attributes = XattrTable()

    def finish(self, root: InodeNode) -> ErofsSummary:
        """Write all that is not file data. Raises ErofsError for what erofs cannot hold."""
        if self._left:
            self.release(self._content)
        self.flush()
        self._collect(root)
        for inode in self._inodes.values():
            inode.attributes = self._attributes.of_inode(inode.node.xattrs)
            self._measure(inode)
        end = self._number()
        for inode in self._inodes.values():
            if inode.names:
                self._write_directory(inode)
        meta = self._next
        self._write_metadata(meta * BLOCK)
        shared, shared_at = self._attributes.shared(), meta + blocks_of(end)
        if shared:
            self._target.write(shared_at * BLOCK, [shared])
        total = shared_at + blocks_of(len(shared))
        if total > MAX_BLOCKS:
            raise ErofsError(f"a file system of {total} blocks: erofs has up to {MAX_BLOCKS}")
        self._write_superblock(meta, shared_at if shared else 0, total)
        return ErofsSummary(size=total * BLOCK, inodes=len(self._inodes))

    def _collect(self, root: InodeNode) -> None:
        """All inodes, each directory before what is in it, names in their order."""
        top = self._inodes[root] = _Inode(root, None)
        waiting = [top]
        while waiting:
            inode = waiting.pop()
            children = inode.node.children
            if children is None:
                continue
            inode.names = sorted_names(children)
            inode.links += 2
            below = []
            for name in inode.names:
                child = children.get(name)
                if child is None:
                    continue
                known = self._inodes.get(child)
                if known is None:
                    known = self._inodes[child] = _Inode(child, inode)
                    if child.children is not None:
                        below.append(known)
                elif child.children is not None:
                    raise ErofsError(
                        f"the directory {name.decode(errors='backslashreplace')!r} has two names"
                    )
                if child.children is None:
                    known.links += 1
                else:
                    inode.links += 1
            waiting += reversed(below)

    def _measure(self, inode: _Inode) -> None:
        """Size and data of an inode, and where the data is that is there already."""
        node = inode.node
        match inode.kind:
            case stat.S_IFDIR:
                inode.size = directory_size(inode.names)
                tail = inode.size % BLOCK
                is_inline = 0 < tail <= MOST_INLINE
                inode.tail = tail if is_inline else None
                inode.blocks = blocks_of(inode.size - tail if is_inline else inode.size)
                inode.block, self._next = self._next, self._next + inode.blocks
            case stat.S_IFLNK:
                self._measure_link(inode)
            case stat.S_IFREG:
                self._measure_file(inode)
            case kind if kind not in TYPES:
                raise ErofsError(f"a file of unknown type, mode {node.mode:o}")

    def _measure_link(self, inode: _Inode) -> None:
        target = inode.node.target
        inode.size = len(target)
        if not 0 < inode.size < BLOCK:
            raise ErofsError(f"a symbolic link to a path of {inode.size} bytes: expected 1 to {BLOCK - 1}")
        if inode.size <= MOST_INLINE:
            inode.tail = target
            return
        inode.block, self._next = self._next, self._next + 1
        self._target.write(inode.block * BLOCK, [target])

    def _measure_file(self, inode: _Inode) -> None:
        content = inode.node.content
        if content is None:
            return
        if not isinstance(content, ErofsContent) or content.is_released or content.used:
            raise ErofsError(
                f"{content!r} is not what begin() gave, was released, or belongs to another file"
            )
        content.used = True
        inode.size, inode.block, inode.tail = content.size, content.block, content.tail

    def _number(self) -> int:
        """Give each inode its place: what belongs to it lies in one block. The end of the last, in bytes."""
        at = _ROOT * SLOT
        for inode in self._inodes.values():
            length = inode.length
            if at % BLOCK + length > BLOCK:
                at += -at % BLOCK
            inode.number = at // SLOT
            at += length + -length % SLOT
        return at

    def _write_directory(self, inode: _Inode) -> None:
        children = inode.node.children or {}
        entries = {
            b".": (inode.number, TYPES[stat.S_IFDIR]),
            b"..": (inode.parent.number, TYPES[stat.S_IFDIR]),
        }
        for name, child in children.items():
            entries[name] = (self._inodes[child].number, TYPES[stat.S_IFMT(child.mode)])
        *whole, last = blocks(inode.names, entries)
        if inode.tail is None:
            whole.append(last)
        else:
            inode.tail = last
        for first in range(0, len(whole), _FEW):
            self._target.write((inode.block + first) * BLOCK, whole[first : first + _FEW])

    def _write_metadata(self, start: int) -> None:
        """Inodes and what follows them, many at a time."""
        buffers: list[bytes] = []
        first = at = start
        for count, inode in enumerate(self._inodes.values(), start=1):
            place = start + inode.number * SLOT
            tail = inode.tail if isinstance(inode.tail, bytes) else b""
            data = self._inode(inode, count) + inode.attributes + tail
            buffers += [bytes(place - at), data]
            at = place + len(data)
            if len(buffers) >= _FEW:
                self._target.write(first, buffers)
                buffers, first = [], at
        self._target.write(first, buffers)

    def _inode(self, inode: _Inode, count: int) -> bytes:
        node = inode.node
        place = inode.block if inode.size else 0
        if inode.kind in (stat.S_IFCHR, stat.S_IFBLK):
            place = device_number(*node.device)
        seconds, nanoseconds = divmod(node.mtime, _SECOND)
        try:
            return INODE.pack(
                INLINE if inode.tail is not None else PLAIN,
                word_count(inode.attributes),
                node.mode,
                0,
                inode.size,
                place,
                count & 0xFFFFFFFF,
                node.uid,
                node.gid,
                seconds,
                nanoseconds,
                inode.links,
            )
        except struct.error as error:
            raise ErofsError(
                f"a file of mode {node.mode:o} has numbers that erofs cannot hold: {error}"
            ) from error

    def _write_superblock(self, meta: int, shared: int, total: int) -> None:
        fields = SUPERBLOCK.pack(
            MAGIC,
            0,
            CHECKSUM | MTIME,
            BLOCK_BITS,
            0,
            _ROOT,
            len(self._inodes),
            self.parameters.time,
            0,
            total,
            meta,
            shared,
            self.parameters.uuid.bytes,
            self.parameters.label.encode(),
            0,
        )
        block = bytearray(fields.ljust(BLOCK - SUPERBLOCK_AT, b"\0"))
        crc = google_crc32c.value(bytes(block)) ^ 0xFFFFFFFF
        struct.pack_into("<I", block, CHECKSUM_AT, crc)
        self._target.write(SUPERBLOCK_AT, [bytes(block)])

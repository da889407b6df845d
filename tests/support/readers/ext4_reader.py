"""A small reader of ext4 that believes nothing: every checksum, count and bitmap is compared with what the tree uses.

It shares no line with the writer that it tests. Only what the writer uses is understood; anything else fails.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import google_crc32c

BLOCK = 4096
_PREFIXES = {
    1: b"user.",
    2: b"system.posix_acl_access",
    3: b"system.posix_acl_default",
    4: b"trusted.",
    6: b"security.",
}
Read = Callable[[int, int], bytes]


def crc(*parts: bytes) -> int:
    """CRC32C as ext4 has it: from ~0 on, not inverted at the end."""
    return int(google_crc32c.value(b"".join(parts))) ^ 0xFFFFFFFF


def u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


@dataclass
class Inode:
    number: int
    raw: bytes
    mode: int
    uid: int
    gid: int
    size: int
    links: int
    mtime: int
    sectors: int
    flags: int
    generation: bytes
    runs: list[tuple[int, int, int]] = field(default_factory=list)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    blocks: int = 0


@dataclass
class Group:
    block_bitmap: int
    inode_bitmap: int
    table: int
    free_blocks: int
    free_inodes: int
    directories: int
    flags: int
    unused_inodes: int
    block_checksum: int
    inode_checksum: int


class Reader:
    def __init__(self, read: Read, offset: int = 0) -> None:
        self._read = read
        self._offset = offset
        self.superblock = read(offset + 1024, 1024)
        sb = self.superblock
        assert u16(sb, 0x38) == 0xEF53
        assert u16(sb, 0x3A) == 1, "not clean"
        assert crc(sb[:1020]) == u32(sb, 1020), "superblock checksum"
        self.blocks = u32(sb, 4) | u32(sb, 0x150) << 32
        self.inodes_per_group = u32(sb, 0x28)
        self.groups = -(-self.blocks // 32768)
        assert u32(sb, 0) == self.groups * self.inodes_per_group
        self.features = (u32(sb, 0x5C), u32(sb, 0x60), u32(sb, 0x64))
        self.uuid = sb[0x68:0x78]
        self.hash_seed = struct.unpack_from("<4I", sb, 0xEC)
        self.descriptor_blocks = -(-self.groups * 64 // BLOCK)
        self.copy = 1 + self.descriptor_blocks + u16(sb, 0xCE)
        self.group = [self._group(number) for number in range(self.groups)]
        self.used: set[int] = set()
        self._cache: dict[int, Inode] = {}

    def block(self, number: int) -> bytes:
        assert 0 < number < self.blocks, f"block {number} is beyond the end"
        return self._read(self._offset + number * BLOCK, BLOCK)

    def _group(self, number: int) -> Group:
        raw = self._read(self._offset + BLOCK + number * 64, 64)
        blank = raw[:0x1E] + b"\0\0" + raw[0x20:]
        assert crc(self.uuid, number.to_bytes(4, "little"), blank) & 0xFFFF == u16(raw, 0x1E), (
            f"descriptor {number}"
        )
        bitmap, inode_bitmap, table = [u32(raw, at) | u32(raw, at + 0x20) << 32 for at in (0, 4, 8)]
        blocks, inodes, directories = [u16(raw, at) | u16(raw, at + 0x20) << 16 for at in (0x0C, 0x0E, 0x10)]
        return Group(
            bitmap,
            inode_bitmap,
            table,
            blocks,
            inodes,
            directories,
            u16(raw, 0x12),
            u16(raw, 0x1C) | u16(raw, 0x32) << 16,
            u16(raw, 0x18) | u16(raw, 0x38) << 16,
            u16(raw, 0x1A) | u16(raw, 0x3A) << 16,
        )

    # inodes

    def inode(self, number: int) -> Inode:
        if number in self._cache:
            return self._cache[number]
        group, at = divmod(number - 1, self.inodes_per_group)
        raw = self._read(self._offset + self.group[group].table * BLOCK + at * 256, 256)
        generation = raw[0x64:0x68]
        blank = raw[:0x7C] + b"\0\0" + raw[0x7E:0x82] + b"\0\0" + raw[0x84:]
        stored = u16(raw, 0x7C) | u16(raw, 0x82) << 16
        assert crc(self.uuid, number.to_bytes(4, "little"), generation, blank) == stored, (
            f"inode {number} checksum"
        )
        assert u16(raw, 0x80) == 32
        times = {
            self._time(raw, low, extra) for low, extra in ((8, 0x8C), (0xC, 0x84), (0x10, 0x88), (0x90, 0x94))
        }
        assert len(times) == 1, "times differ"
        assert not u32(raw, 0x14), "dtime"
        inode = Inode(
            number,
            raw,
            mode=u16(raw, 0),
            uid=u16(raw, 2) | u16(raw, 0x78) << 16,
            gid=u16(raw, 0x18) | u16(raw, 0x7A) << 16,
            size=u32(raw, 4) | u32(raw, 0x6C) << 32,
            links=u16(raw, 0x1A),
            mtime=times.pop(),
            sectors=u32(raw, 0x1C) | u16(raw, 0x74) << 32,
            flags=u32(raw, 0x20),
            generation=generation,
        )
        self._cache[number] = inode
        if inode.flags & 0x80000:
            self._extents(inode, raw[0x28:0x64], None)
        self._xattrs(inode)
        if number != 7:
            assert inode.sectors == inode.blocks * 8, (
                f"inode {number}: {inode.sectors} sectors, {inode.blocks} blocks"
            )
        return inode

    @staticmethod
    def _time(raw: bytes, low: int, extra: int) -> int:
        seconds = int.from_bytes(raw[low : low + 4], "little", signed=True) + ((u32(raw, extra) & 3) << 32)
        return seconds * 10**9 + (u32(raw, extra) >> 2)

    def use(self, start: int, count: int = 1) -> None:
        for block in range(start, start + count):
            assert block not in self.used, f"block {block} is used twice"
            assert block < self.blocks
            self.used.add(block)

    def _extents(self, inode: Inode, node: bytes, depth: int | None) -> None:
        magic, entries, room, level = struct.unpack_from("<HHHH", node)
        assert magic == 0xF30A
        assert entries <= room == (len(node) - 12) // 12
        assert depth is None or level == depth
        for at in range(12, 12 + 12 * entries, 12):
            if level:
                logical, low, high = struct.unpack_from("<IIH", node, at)
                child = low | high << 32
                self.use(child)
                inode.blocks += 1
                data = self.block(child)
                number = inode.number.to_bytes(4, "little")
                assert crc(self.uuid, number, inode.generation, data[:-4]) == u32(data, BLOCK - 4), (
                    "extent checksum"
                )
                assert u32(data, 12) == logical
                self._extents(inode, data, level - 1)
                continue
            logical, count, high, low = struct.unpack_from("<IHHI", node, at)
            assert 0 < count <= 32768
            assert not inode.runs or logical >= inode.runs[-1][0] + inode.runs[-1][2]
            inode.runs.append((logical, low | high << 32, count))
            inode.blocks += count
            self.use(low | high << 32, count)

    def _xattrs(self, inode: Inode) -> None:
        inside = inode.raw[160:]
        if any(inside):
            assert u32(inside, 0) == 0xEA020000
            self._attributes(inode, inside[4:], 0, 0)
        block = u32(inode.raw, 0x68) | u16(inode.raw, 0x76) << 32
        if block:
            self.use(block)
            inode.blocks += 1
            data = self.block(block)
            assert struct.unpack_from("<III", data) == (0xEA020000, 1, 1)
            blank = data[:16] + bytes(4) + data[20:]
            assert crc(self.uuid, block.to_bytes(8, "little"), blank) == u32(data, 16), "xattr checksum"
            keys, total = self._attributes(inode, data, 32, 1)
            assert keys == sorted(keys)
            assert total == u32(data, 12)

    def _attributes(
        self, inode: Inode, data: bytes, at: int, hashed: int
    ) -> tuple[list[tuple[int, int, bytes]], int]:
        keys: list[tuple[int, int, bytes]] = []
        total = 0
        lowest = len(data)
        while u32(data, at):
            length, prefix, offset, inode_number, size, code = struct.unpack_from("<BBHIII", data, at)
            name = data[at + 16 : at + 16 + length]
            value = data[offset : offset + size]
            assert len(value) == size
            assert inode_number == 0
            lowest = min(lowest, offset) if size else lowest
            if hashed:
                assert code == self._attribute_hash(name, value)
                total = ((total << 16) ^ (total >> 16) ^ code) & 0xFFFFFFFF
            keys.append((prefix, length, name))
            full = _PREFIXES[prefix] + name
            assert full not in inode.xattrs
            inode.xattrs[full] = self._wire_acl(value) if prefix in (2, 3) else value
            at += 16 + (length + 3) // 4 * 4
        assert at + 4 <= lowest
        return keys, total

    @staticmethod
    def _attribute_hash(name: bytes, value: bytes) -> int:
        code = 0
        for byte in name:
            code = ((code << 5) ^ (code >> 27) ^ byte) & 0xFFFFFFFF
        value += bytes(-len(value) % 4)
        for at in range(0, len(value), 4):
            code = ((code << 16) ^ (code >> 16) ^ u32(value, at)) & 0xFFFFFFFF
        return code

    @staticmethod
    def _wire_acl(value: bytes) -> bytes:
        assert value[:4] == b"\1\0\0\0"
        result, at = b"\2\0\0\0", 4
        while at < len(value):
            tag = u16(value, at)
            named = tag in (2, 8)
            result += value[at : at + 4] + (value[at + 4 : at + 8] if named else b"\xff" * 4)
            at += 8 if named else 4
        return result

    # data

    def pieces(self, inode: Inode) -> Iterator[tuple[int, bytes]]:
        """What is not a hole: offset and bytes, a block each."""
        for logical, start, count in inode.runs:
            for number in range(count):
                yield (logical + number) * BLOCK, self.block(start + number)

    def content(self, inode: Inode) -> bytes:
        """All of it; only of files that fit memory."""
        data = bytearray(-(-inode.size // BLOCK) * BLOCK)
        for offset, block in self.pieces(inode):
            data[offset : offset + BLOCK] = block
        assert not any(data[inode.size :]), "bytes behind the end"
        return bytes(data[: inode.size])

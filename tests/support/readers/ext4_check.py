"""The whole file system, read and compared with itself: what e2fsck does, without it."""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass

from tests.support.readers.ext4_reader import BLOCK, Inode, Read, Reader, crc, u16, u32


@dataclass
class CheckedNode:
    """A node of the tree. `data`: of a file its blocks by offset, of a link its target."""

    inode: Inode
    children: dict[bytes, CheckedNode]
    target: bytes = b""
    device: tuple[int, int] = (0, 0)


class Checker(Reader):
    def __init__(self, read: Read, offset: int = 0) -> None:
        super().__init__(read, offset)
        self._links: dict[int, int] = {}
        self._directories: dict[int, int] = {}
        self._found: dict[int, CheckedNode] = {}

    def check(self) -> CheckedNode:
        """Every block and inode of the file system. The root of its tree."""
        self._fixed()
        self._journal_and_resize()
        root = self._walk(2, 2)
        self._check_links()
        self._check_inodes()
        self._check_blocks()
        return root

    # places

    def _copies(self) -> list[int]:
        def power(number: int, base: int) -> bool:
            while number % base == 0:
                number //= base
            return number == 1

        return [n for n in range(self.groups) if n < 2 or any(power(n, base) for base in (3, 5, 7))]

    def _fixed(self) -> None:
        first = self._read(self._offset + BLOCK, self.descriptor_blocks * BLOCK)
        for group in self._copies():
            self.use(group * 32768, self.copy)
            if group > 0:
                copy = self._read(self._offset + group * 32768 * BLOCK, 1024)
                assert crc(copy[:1020]) == u32(copy, 1020)
                assert u16(copy, 0x5A) == group
                assert copy[:0x5A] + copy[0x5C:1020] == self.superblock[:0x5A] + self.superblock[0x5C:1020]
                assert self._read(self._offset + (group * 32768 + 1) * BLOCK, len(first)) == first
        for each in self.group:
            self.use(each.block_bitmap)
            self.use(each.inode_bitmap)
            self.use(each.table, self.inodes_per_group // 16)

    def _journal_and_resize(self) -> None:
        if self.features[0] & 4:
            journal = self.inode(8)
            assert self.superblock[0x10C : 0x10C + 60] == journal.raw[0x28:0x64]
            head = struct.unpack_from(">9I", self.block(journal.runs[0][1]))
            assert head == (0xC03B3998, 4, 0, BLOCK, journal.size // BLOCK, 1, 1, 0, 0)
            assert sum(count for _, _, count in journal.runs) == journal.size // BLOCK
        resize = self.inode(7)
        double = u32(resize.raw, 0x28 + 13 * 4)
        self.use(double)
        table = struct.unpack("<1024I", self.block(double))
        pointers = [pointer for pointer in table if pointer]
        assert all(table[(pointer - 1) % 1024] == pointer for pointer in pointers)
        assert sorted(pointers) == list(range(1 + self.descriptor_blocks, self.copy))
        others = [group * 32768 for group in self._copies()[1:]]
        for pointer in pointers:
            places = [place for place in struct.unpack("<1024I", self.block(pointer)) if place]
            assert places == [start + pointer for start in others]
        assert resize.sectors == 8 * (1 + len(pointers) * len(self._copies()))

    # the tree

    def _walk(self, number: int, parent: int) -> CheckedNode:
        """Without recursion: trees can be deep."""
        root = CheckedNode(self.inode(number), {})
        todo = [(root, parent)]
        self._links[number] = 1
        while todo:
            here, above = todo.pop()
            inode = here.inode
            group = (inode.number - 1) // self.inodes_per_group
            self._directories[group] = self._directories.get(group, 0) + 1
            for name, child, kind in self._entries(inode, above):
                assert name not in here.children
                self._links[child] = self._links.get(child, 0) + 1
                if child in self._found:
                    here.children[name] = self._found[child]
                    assert stat.S_IFMT(here.children[name].inode.mode) != stat.S_IFDIR
                    continue
                found = here.children[name] = self._found[child] = self._node(child)
                assert kind == {8: 1, 4: 2, 2: 3, 6: 4, 1: 5, 12: 6, 10: 7}[found.inode.mode >> 12]
                if stat.S_ISDIR(found.inode.mode):
                    self._links[child] += 1
                    self._links[inode.number] += 1
                    todo.append((found, inode.number))
        self._links[number] += 1
        return root

    def _node(self, number: int) -> CheckedNode:
        inode = self.inode(number)
        found = CheckedNode(inode, {})
        block = inode.raw[0x28:0x64]
        if stat.S_ISLNK(inode.mode):
            assert bool(inode.flags & 0x80000) == (inode.size >= 60)
            found.target = self.content(inode) if inode.size >= 60 else block[: inode.size]
            assert inode.size >= 60 or not any(block[inode.size :])
        elif stat.S_ISCHR(inode.mode) or stat.S_ISBLK(inode.mode):
            old, new = u32(block, 0), u32(block, 4)
            found.device = (
                (old >> 8, old & 0xFF) if old else (new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xFFF00)
            )
        return found

    def _entries(self, inode: Inode, parent: int) -> list[tuple[bytes, int, int]]:
        blocks = [block for _, block in self.pieces(inode)]
        assert len(blocks) * BLOCK == inode.size
        seed = (self.uuid, inode.number.to_bytes(4, "little"), inode.generation)
        dots = blocks[0][:24]
        assert (u32(dots, 0), dots[8:12]) == (inode.number, b".\0\0\0")
        assert (u32(dots, 12), dots[20:24]) == (parent, b"..\0\0")
        if not inode.flags & 0x1000:
            entries = [entry for block in blocks for entry in self._block_entries(block, seed)]
            return entries[2:]
        assert blocks[0][0x1C:0x20] in (b"\1\x08\0\0", b"\1\x08\1\0")
        levels = blocks[0][0x1E]
        order: list[int] = []
        entries = []
        for low, high, leaf in self._index(blocks, blocks[0], 0x20, levels, 0, 2**32, seed):
            order.append(leaf)
            for entry in self._block_entries(blocks[leaf], seed):
                code = name_hash(entry[0], self.hash_seed)
                assert low & ~1 <= code <= high, "a name in the wrong block"
                entries.append(entry)
        assert len(set(order)) == len(order)
        return entries

    def _index(
        self,
        blocks: list[bytes],
        block: bytes,
        at: int,
        levels: int,
        low: int,
        high: int,
        seed: tuple[bytes, ...],
    ) -> list[tuple[int, int, int]]:
        """Leaves, with the hashes they may hold: from, to. An odd `from` of the next allows its even one in this."""
        room, count = u16(block, at), u16(block, at + 2)
        assert room == (BLOCK - at - 8) // 8
        assert 0 < count <= room
        assert crc(*seed, block[: at + 8 * count], block[-8:-4], bytes(4)) == u32(block, BLOCK - 4), (
            "index checksum"
        )
        pairs = [(low, u32(block, at + 4)), *struct.iter_unpack("<II", block[at + 8 : at + 8 * count])]
        assert [code for code, _ in pairs] == sorted(code for code, _ in pairs)
        leaves = []
        for number, (code, child) in enumerate(pairs):
            after = pairs[number + 1][0] if number + 1 < len(pairs) else high
            until = after & ~1 if after & 1 else after - 2
            if levels:
                assert blocks[child][:8] == bytes((0, 0, 0, 0, 0, 16, 0, 0))
                leaves += self._index(blocks, blocks[child], 8, levels - 1, code, after, seed)
            else:
                leaves.append((code, until, child))
        return leaves

    def _block_entries(self, block: bytes, seed: tuple[bytes, ...]) -> list[tuple[bytes, int, int]]:
        assert block[-12:-4] == b"\0\0\0\0\x0c\0\0\xde"
        assert crc(*seed, block[:-12]) == u32(block, BLOCK - 4), "directory checksum"
        entries = []
        at = 0
        while at < BLOCK - 12:
            number, record, length, kind = struct.unpack_from("<IHBB", block, at)
            assert record >= 8 + length
            assert record % 4 == 0
            if number:
                entries.append((block[at + 8 : at + 8 + length], number, kind))
            at += record
        assert at == BLOCK - 12
        return entries

    # counts

    def _check_links(self) -> None:
        for number, links in self._links.items():
            inode = self.inode(number)
            expected = 1 if stat.S_ISDIR(inode.mode) and links > 65000 else links
            assert inode.links == expected, f"inode {number} has {inode.links} links, {expected} names"

    def _check_inodes(self) -> None:
        used = set(self._links) | set(range(1, 12))
        free = 0
        for number, group in enumerate(self.group):
            first = number * self.inodes_per_group + 1
            here = [inode - first for inode in used if first <= inode < first + self.inodes_per_group]
            assert group.free_inodes == self.inodes_per_group - len(here)
            assert group.directories == self._directories.get(number, 0)
            assert group.unused_inodes == self.inodes_per_group - max(here, default=-1) - 1
            free += group.free_inodes
            assert bool(group.flags & 1) == (not here)
            assert group.flags & 4
            if here:
                bits = int.from_bytes(self.block(group.inode_bitmap), "little")
                expected = (1 << 8 * BLOCK) - (1 << self.inodes_per_group)
                assert bits == expected | sum(1 << inode for inode in here)
                raw = self.block(group.inode_bitmap)[: self.inodes_per_group // 8]
                assert crc(self.uuid, raw) == group.inode_checksum
            table = self._read(self._offset + group.table * BLOCK, self.inodes_per_group * 256)
            end = (max(here, default=-1) + 1) * 256
            assert not any(table[end:]), "an inode table is not zero behind what is used"
        assert free == u32(self.superblock, 0x10)

    def _check_blocks(self) -> None:
        free = 0
        copies = self._copies()
        for number, group in enumerate(self.group):
            start = number * 32768
            end = min(start + 32768, self.blocks)
            here = [block - start for block in range(start, end) if block in self.used]
            assert group.free_blocks == end - start - len(here), f"group {number}: free blocks"
            free += group.free_blocks
            if group.flags & 2:
                assert 0 < number < self.groups - 1
                assert here == list(range(self.copy if number in copies else 0))
                continue
            raw = self.block(group.block_bitmap)
            expected = bytearray(BLOCK)
            for block in [*here, *range(end - start, 32768)]:
                expected[block // 8] |= 1 << block % 8
            assert raw == expected, f"group {number}: block bitmap"
            assert crc(self.uuid, raw) == group.block_checksum
        assert free == u32(self.superblock, 0xC) | u32(self.superblock, 0x158) << 32


def name_hash(name: bytes, seed: tuple[int, ...]) -> int:
    """Half MD4 of one name, step by step as fs/ext4/hash.c describes it, with signed characters."""

    def rotate(value: int, by: int) -> int:
        value &= 0xFFFFFFFF
        return (value << by | value >> (32 - by)) & 0xFFFFFFFF

    state = list(seed)
    left = len(name)
    while left > 0:
        piece = name[len(name) - left :][:32]
        pad = left | left << 8
        pad |= pad << 16
        words = []
        value = pad
        for at, byte in enumerate(piece):
            value = ((byte - 256 if byte > 127 else byte) + (value << 8)) & 0xFFFFFFFF
            if at % 4 == 3:
                words.append(value)
                value = pad
        words = [*words, value, *[pad & 0xFFFFFFFF] * 8][:8]
        words = [word & 0xFFFFFFFF for word in words]
        a, b, c, d = state
        for step in range(8):
            a, b, c, d = d, rotate(a + (d ^ (b & (c ^ d))) + words[step], (3, 7, 11, 19)[step % 4]), b, c
        for step, at in enumerate((1, 3, 5, 7, 0, 2, 4, 6)):
            mixed = (b & c) + ((b ^ c) & d)
            a, b, c, d = d, rotate(a + mixed + words[at] + 0o13240474631, (3, 5, 9, 13)[step % 4]), b, c
        for step, at in enumerate((3, 7, 2, 6, 1, 5, 0, 4)):
            a, b, c, d = (
                d,
                rotate(a + (b ^ c ^ d) + words[at] + 0o15666365641, (3, 9, 11, 15)[step % 4]),
                b,
                c,
            )
        state = [(old + new) & 0xFFFFFFFF for old, new in zip(state, (a, b, c, d), strict=True)]
        left -= 32
    return min(state[1] & ~1, 0xFFFFFFFC)

"""Directories (kernel documentation, filesystems/ext4/directory.rst).

A block of entries; the last one reaches to the tail, which holds the checksum of inode and block:

    entry   inode u32 | length of entry u16 | length of name u8 | type u8 | name, padded to 4 bytes
    tail    0 u32 | 12 u16 | 0 u8 | 0xDE u8 | checksum u32

A directory of more than a block is indexed: entries are sorted into blocks by the hash of their names, and block 0 is
the root of an index, which looks like a block with nothing but "." and ".." to those who do not know of it:

    root    "." | ".." to the end | 0 u32 | hash version u8 | 8 u8 | levels u8 | 0 u8 | pairs | 0 u32, checksum u32
    node    an unused entry to the end | pairs | 0 u32, checksum u32
    pairs   room for u16, in use u16 | block u32 | hash u32, block u32 | hash u32, block u32 | …

A pair's hash is the lowest that its block holds; bit 0 says that the block before ends with the same one. One root
points to 507 blocks, with nodes between to 507 × 510.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from dibo.formats.ext4.checksum import extend, stored
from dibo.formats.ext4.errors import Ext4Error
from dibo.formats.ext4.hashes import hash_names
from dibo.formats.ext4.layout import BLOCK

_ENTRY: Final = struct.Struct("<IHBB").pack
_DOTS: Final = struct.Struct("<IHBB4sIHBB4s").pack
_TAIL: Final = struct.Struct("<IHBBI")
_USABLE: Final = BLOCK - _TAIL.size
_FILL: Final = _USABLE * 4 // 5
"""Bytes of entries in a block of an indexed directory: the rest is room for later names. As e2fsck -D leaves it."""
_HALF_MD4: Final = 1
_ROOT_PAIRS: Final = 507
_NODE_PAIRS: Final = 510
_FORBIDDEN: Final = (b"", b".", b"..")

Entry = tuple[int, int, bytes]
"""Inode, type, name."""


def check_name(name: bytes) -> None:
    if len(name) > 255 or name in _FORBIDDEN or b"/" in name or b"\0" in name:
        shown = name[:60].decode(errors="backslashreplace")
        raise Ext4Error(f"{shown!r} ({len(name)} bytes) cannot be the name of a file")


def directory(
    number: int, parent: int, entries: Sequence[Entry], seed: int, hash_seed: bytes
) -> tuple[list[bytes], bool]:
    """The blocks of directory `number`, and whether it is indexed. `seed` is where the inode's checksums start."""
    parts = [_DOTS(number, 12, 1, 2, b".", parent, 12, 2, 2, b"..")]
    size = 24 + sum([len(name) + 11 & ~3 for _, _, name in entries])
    if size > _USABLE:
        return _indexed(number, parent, entries, seed, hash_seed), True
    last = len(entries) - 1
    if last < 0:
        parts = [_DOTS(number, 12, 1, 2, b".", parent, _USABLE - 12, 2, 2, b"..")]
    for at, (inode, kind, name) in enumerate(entries):
        length = len(name)
        record = length + 11 & ~3
        parts.append(_ENTRY(inode, record if at < last else record + _USABLE - size, length, kind))
        parts.append(name.ljust(record - 8, b"\0"))
    return [_sealed(b"".join(parts), seed)], False


def empty_block(seed: int) -> bytes:
    """A block of a directory that no name is in."""
    return _sealed(_ENTRY(0, _USABLE, 0, 0), seed)


def _sealed(front: bytes, seed: int) -> bytes:
    """A block of entries with its tail."""
    body = front.ljust(_USABLE, b"\0")
    return body + _TAIL.pack(0, _TAIL.size, 0, 0xDE, stored(extend(seed, body)))


def _indexed(number: int, parent: int, entries: Sequence[Entry], seed: int, hash_seed: bytes) -> list[bytes]:
    leaves, hashes = _leaves(entries, seed, hash_seed)
    levels = 0 if len(leaves) <= _ROOT_PAIRS else 1
    nodes = -(-len(leaves) // _NODE_PAIRS) if levels else 0
    if nodes > _ROOT_PAIRS:
        raise Ext4Error(f"a directory of {len(entries)} names: more than its index can hold")
    pairs = [(code, 1 + nodes + at) for at, code in enumerate(hashes)]
    blocks = []
    if levels:
        parts = [pairs[at : at + _NODE_PAIRS] for at in range(0, len(pairs), _NODE_PAIRS)]
        blocks = [_index(_ENTRY(0, BLOCK, 0, 0), part, _NODE_PAIRS, seed) for part in parts]
        pairs = [(part[0][0], 1 + at) for at, part in enumerate(parts)]
    dots = _DOTS(number, 12, 1, 2, b".", parent, BLOCK - 12, 2, 2, b"..")
    info = struct.pack("<IBBBB", 0, _HALF_MD4, 8, levels, 0)
    return [_index(dots + info, pairs, _ROOT_PAIRS, seed), *blocks, *leaves]


def _leaves(entries: Sequence[Entry], seed: int, hash_seed: bytes) -> tuple[list[bytes], list[int]]:
    """Blocks of entries in the order of their hashes, and the lowest of each."""
    codes = hash_names([name for _, _, name in entries], hash_seed)
    order = sorted(range(len(entries)), key=codes.__getitem__)
    leaves: list[bytes] = []
    lowest: list[int] = []
    parts: list[bytes] = []
    used = 0
    before = -1
    for at in order:
        inode, kind, name = entries[at]
        record = len(name) + 11 & ~3
        if used + record > _FILL and parts:
            leaves.append(_leaf(parts, used, seed))
            parts, used = [], 0
        if not parts:
            lowest.append(codes[at] | (codes[at] == before))
        parts.append(_ENTRY(inode, record, len(name), kind) + name.ljust(record - 8, b"\0"))
        used += record
        before = codes[at]
    leaves.append(_leaf(parts, used, seed))
    return leaves, lowest


def _leaf(parts: list[bytes], used: int, seed: int) -> bytes:
    last = parts[-1]
    parts[-1] = last[:4] + (len(last) + _USABLE - used).to_bytes(2, "little") + last[6:]
    return _sealed(b"".join(parts), seed)


def _index(front: bytes, pairs: Sequence[tuple[int, int]], room: int, seed: int) -> bytes:
    """A root or node of the index, behind `front`."""
    numbers = [number for pair in pairs for number in pair]
    body = front + struct.pack(f"<HH{len(numbers) - 1}I", room, len(pairs), *numbers[1:])
    crc = extend(seed, body + bytes(8))  # what is in use, then the tail with a checksum of 0
    return body.ljust(BLOCK - 4, b"\0") + stored(crc).to_bytes(4, "little")

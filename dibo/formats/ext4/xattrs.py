"""Extended attributes: in the inode as long as there is room, the rest in one block
(kernel documentation, filesystems/ext4/attributes.rst).

    in the inode, 96 bytes   magic 0xEA020000 u32 | entries → | 0 u32 | ··· | ← values
    in a block               magic | references u32 (1) | blocks u32 (1) | hash u32 | checksum u32 | 0 × 3 | entries → …
    entry                    length of name u8 | prefix u8 | offset of value u16 | 0 u32 | size u32 | hash u32 | name

Entries and values are padded to 4 bytes. Offsets count from the first entry in an inode, from the beginning of a block.
In a block, entries are sorted by prefix, length and name, and carry hashes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from dibo.formats.ext4.checksum import extend, stored
from dibo.formats.ext4.errors import Ext4Error
from dibo.formats.ext4.layout import BLOCK
from dibo.formats.ext4.structures import ATTRIBUTE, ATTRIBUTES_MAGIC

_MAGIC: Final = ATTRIBUTES_MAGIC
_ENTRY: Final = ATTRIBUTE.pack
_SYSTEM: Final = 7
_INLINE: Final = b"data"
"""`system.data`: what a file within its inode has beyond its first 60 bytes."""
_HEADER: Final = struct.Struct("<IIIII12x").pack
_IN_INODE: Final = 96 - 4
_IN_BLOCK: Final = BLOCK - 32
_END: Final = 4
"""Four zero bytes follow the last entry."""
_ACCESS: Final = b"system.posix_acl_access"
_DEFAULT: Final = b"system.posix_acl_default"
_PREFIXES: Final = ((b"user.", 1), (b"trusted.", 4), (b"security.", 6))

Attribute = tuple[int, int, bytes, bytes]
"""Prefix, length of name, name without the prefix, value: in this order they sort as in a block."""


def attributes(xattrs: Mapping[bytes, bytes]) -> tuple[bytes, list[Attribute]]:
    """The 96 bytes for the inode, and what does not fit there, sorted. Raises Ext4Error."""
    inside: list[Attribute] = []
    outside: list[Attribute] = []
    room = _IN_INODE - _END
    for attribute in sorted(_attribute(name, value) for name, value in xattrs.items()):
        size = _size(attribute)
        if size <= room:
            inside.append(attribute)
            room -= size
        else:
            outside.append(attribute)
    if sum(map(_size, outside)) + _END > _IN_BLOCK:
        names = b", ".join(sorted(xattrs)).decode(errors="backslashreplace")
        total = _END + sum(map(_size, outside))
        raise Ext4Error(
            f"{len(outside)} extended attributes take {total} bytes with their names and padding, expected at most"
            f" {_IN_BLOCK} beside those in the inode: {names}"
        )
    return struct.pack("<I", _MAGIC) + _pack(inside, _IN_INODE, 0, hashed=False), outside


def attribute_block(outside: list[Attribute], seed: int, block: int) -> bytes:
    """The block, for what `attributes` left over. `seed` is the file system's."""
    body = _pack(outside, _IN_BLOCK, 32, hashed=True)
    total = 0
    for attribute in outside:
        total = (total << 16 ^ total >> 16 ^ _hash(attribute)) & 0xFFFFFFFF
    crc = extend(extend(seed, block.to_bytes(8, "little")), _HEADER(_MAGIC, 1, 1, total, 0) + body)
    return _HEADER(_MAGIC, 1, 1, total, stored(crc)) + body


def inline_attribute(body: bytes) -> bytes:
    """`system.data` of the attributes in an inode's body; nothing where there is none, or it does not fit there."""
    if body[:4] != struct.pack("<I", _MAGIC):
        return b""
    first = at = 4
    while at + ATTRIBUTE.size <= len(body) and any(body[at : at + 4]):
        length, prefix, offset, _, size, _ = ATTRIBUTE.unpack_from(body, at)
        name = body[at + ATTRIBUTE.size : at + ATTRIBUTE.size + length]
        if (prefix, name) == (_SYSTEM, _INLINE):
            return body[first + offset : first + offset + size]
        at += ATTRIBUTE.size + (length + 3 & ~3)
    return b""


def _attribute(name: bytes, value: bytes) -> Attribute:
    if name in (_ACCESS, _DEFAULT):
        return (2 if name == _ACCESS else 3, 0, b"", _acl(value))
    for prefix, number in _PREFIXES:
        rest = name[len(prefix) :]
        if name.startswith(prefix) and 0 < len(rest) < 256 - len(prefix) and b"\0" not in rest:
            return (number, len(rest), rest, value)
    raise Ext4Error(
        f"extended attribute {name.decode(errors='backslashreplace')!r}: ext4 cannot have one of this name"
    )


def _size(attribute: Attribute) -> int:
    _, length, _, value = attribute
    return 16 + (length + 3 & ~3) + (len(value) + 3 & ~3)


def _pack(attributes: list[Attribute], size: int, base: int, *, hashed: bool) -> bytes:
    """Entries from the front, values from the back, of `size` bytes that begin at offset `base`."""
    entries, values = [], []
    end = size
    for attribute in attributes:
        prefix, length, name, value = attribute
        padded = value.ljust(len(value) + 3 & ~3, b"\0")
        end -= len(padded)
        offset = base + end if value else 0
        code = _hash(attribute) if hashed else 0
        entries.append(
            _ENTRY(length, prefix, offset, 0, len(value), code) + name.ljust(length + 3 & ~3, b"\0")
        )
        values.append(padded)
    front = b"".join(entries)
    return front + bytes(end - len(front)) + b"".join(reversed(values))


def _hash(attribute: Attribute) -> int:
    """ext4_xattr_hash_entry() of the kernel's fs/ext4/xattr.c; e2fsck compares it."""
    _, _, name, value = attribute
    code = 0
    for byte in name:
        code = (code << 5 ^ code >> 27 ^ byte) & 0xFFFFFFFF
    for (word,) in struct.iter_unpack("<I", value.ljust(len(value) + 3 & ~3, b"\0")):
        code = (code << 16 ^ code >> 16 ^ word) & 0xFFFFFFFF
    return code


def _acl(value: bytes) -> bytes:
    """An access control list as ext4 keeps it: version 1, and an id only in entries for a named user or group.

    `value` is as getxattr(2) gives it: version 2 u32, entries of tag u16, permissions u16, id u32
    (the kernel's include/uapi/linux/posix_acl_xattr.h)."""
    if len(value) % 8 != 4 or value[:4] != b"\2\0\0\0":
        raise Ext4Error("invalid access control list")
    parts = [b"\1\0\0\0"]
    for tag, permissions, who in struct.iter_unpack("<HHI", value[4:]):
        if tag in (0x02, 0x08):  # a named user or group
            parts.append(struct.pack("<HHI", tag, permissions, who))
        elif tag in (0x01, 0x04, 0x10, 0x20):
            parts.append(struct.pack("<HH", tag, permissions))
        else:
            raise Ext4Error(f"an access control list with an entry of unknown type {tag}")
    return b"".join(parts)

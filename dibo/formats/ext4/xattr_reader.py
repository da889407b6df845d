"""Reads extended attributes: those in an inode, and those in its block. Structures and their drawing: xattrs.py."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final

from dibo.errors import DiskImageError
from dibo.formats.ext4.structures import ATTRIBUTE, ATTRIBUTES_MAGIC

LARGEST_VALUE: Final = 64 << 10
"""XATTR_SIZE_MAX of the kernel's include/uapi/linux/limits.h."""
_MAGIC: Final = struct.pack("<I", ATTRIBUTES_MAGIC)
_BLOCK_HEADER: Final = 32
_MOST: Final = 1024
_PREFIXES: Final = {
    1: b"user.",
    2: b"system.posix_acl_access",
    3: b"system.posix_acl_default",
    4: b"trusted.",
    6: b"security.",
    7: b"system.",
}
_ACLS: Final = (2, 3)
_INLINE: Final = b"system.data"
_NAMED: Final = (0x02, 0x08)
_NOBODY: Final = 0xFFFFFFFF

LargeValue = Callable[[int, int], bytes]
"""The bytes of an inode that holds a value, which has so many. Raises DiskImageError."""


def read_attributes(body: bytes, block: bytes, large: LargeValue) -> dict[bytes, bytes]:
    """Of an inode's `body`, behind its known fields, and of its `block`, which may be empty: full names, and values as
    getxattr(2) gives them. What a file has of its own bytes there is left out. Raises DiskImageError."""
    attributes: dict[bytes, bytes] = {}
    if body.startswith(_MAGIC):
        attributes.update(_entries(body, 4, 4, large))
    if block.startswith(_MAGIC):
        attributes.update(_entries(block, _BLOCK_HEADER, 0, large))
    return attributes


def _entries(data: bytes, first: int, base: int, large: LargeValue) -> Iterator[tuple[bytes, bytes]]:
    """Entries from byte `first` on; offsets of values count from `base`."""
    at = first
    for _ in range(_MOST):
        if at + 4 > len(data) or not any(data[at : at + 4]):
            return
        if at + ATTRIBUTE.size > len(data):
            break
        length, prefix, offset, inode, size, _ = ATTRIBUTE.unpack_from(data, at)
        name = data[at + ATTRIBUTE.size : at + ATTRIBUTE.size + length]
        if len(name) < length or size > LARGEST_VALUE:
            break
        at += ATTRIBUTE.size + (length + 3 & ~3)
        value = large(inode, size) if inode else data[base + offset : base + offset + size]
        if len(value) < size:
            break
        full = _PREFIXES.get(prefix, b"") + name
        if full and full != _INLINE:
            yield full, _acl(value) if prefix in _ACLS else value
    else:
        return
    raise DiskImageError("the extended attributes of an inode are damaged")


def _acl(value: bytes) -> bytes:
    """An access control list as getxattr(2) gives it (xattrs.py has the opposite). Raises DiskImageError."""
    parts, at = [b"\2\0\0\0"], 4
    while at + 4 <= len(value):
        tag, permissions = struct.unpack_from("<HH", value, at)
        at += 4
        who = _NOBODY
        if tag in _NAMED:
            if at + 4 > len(value):
                raise DiskImageError("an access control list is cut short")
            (who,) = struct.unpack_from("<I", value, at)
            at += 4
        parts.append(struct.pack("<HHI", tag, permissions, who))
    return b"".join(parts)

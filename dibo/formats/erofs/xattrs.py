"""Extended attributes: few bytes of them follow the inode, more are kept apart, each distinct one once.

    behind an inode   0 u32 | how many are shared u8 | 7 × 0 | numbers of shared ones, u32 each | others, one by one
    shared            one by one; the number counts 4 bytes from the block where they begin

Each attribute is padded to 4 bytes. An inode says u16: 0 for none, else the words that follow the header, and one.
Values are as getxattr(2) gives them, those of access control lists, too (fs/erofs/xattr.c: erofs_get_acl).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from dibo.formats.erofs.errors import ErofsError
from dibo.formats.erofs.structures import ATTRIBUTE, ATTRIBUTES

MOST: Final = 256
"""Bytes behind an inode. It is known before the attributes are: data that comes earlier leaves room for them."""
_MOST_SHARED: Final = (MOST - ATTRIBUTES.size) // 4
_EXACT: Final = {b"system.posix_acl_access": 2, b"system.posix_acl_default": 3}
_PREFIXES: Final = ((b"user.", 1), (b"trusted.", 4), (b"security.", 6))


class XattrTable:
    """Those of a whole file system."""

    def __init__(self) -> None:
        self._shared: dict[bytes, int] = {}
        self._end = 0

    def of_inode(self, xattrs: Mapping[bytes, bytes] | None) -> bytes:
        """What follows an inode: nothing, or at most MOST bytes. Raises ErofsError."""
        if not xattrs:
            return b""
        encoded = [_encoded(name, value) for name, value in sorted(xattrs.items())]
        if ATTRIBUTES.size + sum(map(len, encoded)) <= MOST:
            return b"".join([ATTRIBUTES.pack(0), *encoded])
        if len(encoded) > _MOST_SHARED:
            raise ErofsError(
                f"a file has {len(encoded)} extended attributes: at most {_MOST_SHARED} are possible"
            )
        return ATTRIBUTES.pack(len(encoded)) + struct.pack(
            f"<{len(encoded)}I", *(self._number(attribute) for attribute in encoded)
        )

    def _number(self, attribute: bytes) -> int:
        at = self._shared.setdefault(attribute, self._end)
        if at == self._end:
            self._end += len(attribute)
        return at // 4

    def shared(self) -> bytes:
        """What is kept apart."""
        return b"".join(self._shared)


def word_count(attributes: bytes) -> int:
    """What an inode says of what follows it."""
    return (len(attributes) - ATTRIBUTES.size) // 4 + 1 if attributes else 0


def _encoded(name: bytes, value: bytes) -> bytes:
    prefix, rest = _split(name)
    if len(value) > 0xFFFF:
        raise ErofsError(
            f"extended attribute {_shown(name)} has {len(value)} bytes: erofs holds up to {0xFFFF}"
        )
    encoded = ATTRIBUTE.pack(len(rest), prefix, len(value)) + rest + value
    return encoded + bytes(-len(encoded) % 4)


def _split(name: bytes) -> tuple[int, bytes]:
    if name in _EXACT:
        return _EXACT[name], b""
    for prefix, number in _PREFIXES:
        rest = name.removeprefix(prefix)
        if rest != name and 0 < len(rest) <= 255 and b"\0" not in rest:
            return number, rest
    raise ErofsError(f"extended attribute {_shown(name)}: erofs cannot have one of this name")


def _shown(name: bytes) -> str:
    return repr(name.decode(errors="backslashreplace"))

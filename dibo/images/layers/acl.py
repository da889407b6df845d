"""POSIX ACLs: as text, which archives have, and as the kernel keeps them, which trees have.

    u32 version = 2, then entries of u16 tag | u16 permissions | u32 id, little-endian, sorted by tag and id

(kernel, include/uapi/linux/posix_acl_xattr.h and posix_acl.h.) As text: "user::rwx,user:1000:r-x,group::r--,mask::r-x,
other::---", by commas or lines (acl_from_text(3)); star and bsdtar name a user and add the id as a fourth field.
"""

from __future__ import annotations

import struct
from typing import Final

_VERSION: Final = 2
_ANY: Final = 0xFFFFFFFF
_TAGS: Final = {
    (b"user", False): 0x01,
    (b"user", True): 0x02,
    (b"group", False): 0x04,
    (b"group", True): 0x08,
    (b"mask", False): 0x10,
    (b"other", False): 0x20,
}
_WORDS: Final = {tag: word for (word, _), tag in _TAGS.items()}
_SHORT: Final = {b"u": b"user", b"g": b"group", b"m": b"mask", b"o": b"other"}


def from_text(value: bytes) -> bytes | None:
    """None if an entry is invalid, or names a user or group without its id, which only the whole tree could tell."""
    entries = []
    for line in value.replace(b"\n", b",").split(b","):
        line = line.partition(b"#")[0].strip()
        if line:
            entry = _entry(line)
            if entry is None:
                return None
            entries.append(entry)
    return struct.pack("<I", _VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in sorted(entries))


def _entry(line: bytes) -> tuple[int, int, int] | None:
    fields = line.split(b":")
    if len(fields) == 2:  # Solaris' way of mask and other
        fields.insert(1, b"")
    if len(fields) in (3, 4):
        word, who, permissions = fields[:3]
        if len(fields) == 4:
            who = fields[3]
        tag = _TAGS.get((_SHORT.get(word, word), bool(who)))
        if tag is not None and not permissions.strip(b"rwx-"):
            bits = sum(bit for letter, bit in ((b"r", 4), (b"w", 2), (b"x", 1)) if letter in permissions)
            if not who:
                return tag, bits, _ANY
            if who.isdigit() and len(who) <= len(str(_ANY)) and int(who) < _ANY:
                return tag, bits, int(who)
    return None


def permissions(value: bytes) -> tuple[int, bool] | None:
    """The nine bits of a mode that go with an access ACL, and whether they say all that it says. None where `value` is
    no access ACL. The kernel changes a mode so when it is given an ACL, and keeps none that says no more
    (fs/posix_acl.c, posix_acl_equiv_mode)."""
    if len(value) < 4 or (len(value) - 4) % 8 or struct.unpack_from("<I", value)[0] != _VERSION:
        return None
    bits = {tag: bits for tag, bits, _ in struct.iter_unpack("<HHI", value[4:])}
    if not {0x01, 0x04, 0x20} <= bits.keys():
        return None
    group = bits.get(0x10, bits[0x04])
    return (bits[0x01] & 7) << 6 | (group & 7) << 3 | bits[0x20] & 7, bits.keys() == {0x01, 0x04, 0x20}


def to_text(value: bytes) -> bytes | None:
    """None where `value` is no ACL."""
    if len(value) < 4 or (len(value) - 4) % 8 or struct.unpack_from("<I", value)[0] != _VERSION:
        return None
    lines = []
    for tag, bits, who in struct.iter_unpack("<HHI", value[4:]):
        if tag not in _WORDS:
            return None
        permissions = bytes(
            letter if bits & bit else 0x2D for letter, bit in zip(b"rwx", (4, 2, 1), strict=True)
        )
        name = b"%d" % who if tag in (0x02, 0x08) else b""
        lines.append(b":".join((_WORDS[tag], name, permissions)))
    return b",".join(lines)

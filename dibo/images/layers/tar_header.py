"""Headers of tar: the 512 bytes, and the records of PAX.

The block (POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"), lengths in bytes:

    0 name 100 | mode 8 | uid 8 | gid 8 | size 12 | mtime 12 | checksum 8 | typeflag 1 | linkname 100
    257 magic and version 8 | uname 32 | gname 32 | devmajor 8 | devminor 8
    345 ustar: prefix 155
        GNU ("ustar  \\0"): atime 12, ctime 12, …; 386 four of (offset 12, size 12); 482 more follow 1; 483 real size 12
        star ("tar\\0" at 508): prefix 131

Numbers are octal digits, perhaps among spaces and NULs, or big-endian two's complement behind a set top bit (GNU
"base-256"). The checksum is the sum of the block's bytes with spaces in place of itself; old writers took the bytes
as signed. What is wrong raises Malformed, to which the reader adds the layer and the entry.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

BLOCK: Final = 512
FIELDS: Final = struct.Struct("100s8s8s8s12s12s8s1s100s8s64x8s8s155s12x")
_CHECKSUM_AT: Final = 148
_ADLER: Final = 65521
"""The prime of Adler-32 (RFC 1950)."""

USTAR: Final = b"ustar\x0000"
GNU: Final = b"ustar  \x00"


class Malformed(Exception):
    """What is wrong, in words that follow "entry … of layer …:"."""


def text(field: bytes) -> bytes:
    """A name up to its NUL."""
    return field.partition(b"\0")[0]


def full_name(block: memoryview, fields: tuple[bytes, ...]) -> bytes:
    """The name in a header whose FIELDS are unpacked, with the prefix of ustar and star."""
    name, magic, prefix = text(fields[0]), fields[9], fields[12]
    if not prefix[0] or magic == GNU or not magic.startswith(b"ustar\0"):
        return name
    return text(prefix[:131] if bytes(block[508:512]) == b"tar\0" else prefix) + b"/" + name


def number(field: bytes, description: str) -> int:
    """The value of a numeric field; an empty one is 0."""
    if field[0] & 0x80:
        return int.from_bytes(field, "big", signed=True) if field[0] & 0x40 else _base256(field)
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if not digits.isdigit():
        digits = digits.partition(b"\0")[0].strip(b" ")
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass
    raise Malformed(f"its {description} is {field!r}, which is no octal number")


def _base256(field: bytes) -> int:
    return int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")


def checksum_fits(block: memoryview, field: bytes) -> bool:
    """Whether the sum in `field` is that of `block`.

    The low half of Adler-32 is one more than the sum of all bytes, modulo 65521, and comes much faster than a sum
    in Python; a sum has at most 18 bits, and serves to tell headers from other data, not to find attacks."""
    try:
        stored = number(field, "checksum")
    except Malformed:
        return False
    blank = 8 * ord(" ") - sum(field)
    total = (zlib.adler32(block) & 0xFFFF) - 1 + blank
    if (total - stored) % _ADLER == 0:
        return True
    data = bytes(block[:_CHECKSUM_AT]) + b" " * 8 + bytes(block[_CHECKSUM_AT + 8 :])
    return sum(data) == stored or sum(struct.unpack("512b", data)) == stored


def records(data: bytes) -> dict[bytes, bytes]:
    """Of an extended header: "length keyword=value\\n" in a row, where the length counts itself. The last of one
    keyword counts; those of the sparse map of GNU's format 0.0 come many times and are joined by commas."""
    values: dict[bytes, bytes] = {}
    pieces: list[bytes] = []
    position = 0
    end = len(data)
    while position < end:
        space = data.find(b" ", position, position + 20)
        digits = data[position:space]
        if space < 0 or not digits.isdigit():
            if not data[position:].strip(b"\0"):
                break  # some writers pad with NULs
            raise Malformed("its PAX header has a record without a length")
        after = position + int(digits)
        if after > end or after <= space + 1 or data[after - 1] != 0x0A:
            raise Malformed("a record of its PAX header has a wrong length")
        keyword, equals, value = data[space + 1 : after - 1].partition(b"=")
        if not equals or not keyword:
            raise Malformed("its PAX header has a record without a keyword")
        if keyword in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            pieces.append(value)
        else:
            values[keyword] = value
        position = after
    if pieces:
        values[b"GNU.sparse.map"] = b",".join(pieces)
    return values


def decimal(value: bytes, description: str) -> int:
    """An integer of PAX."""
    digits = value[1:] if value.startswith(b"-") else value
    if not digits.isdigit() or len(digits) > 30:
        raise Malformed(f"its {description} is {value[:40]!r}, which is no number")
    return int(value)


def nanoseconds(value: bytes) -> int:
    """A time of PAX: seconds since 1970, perhaps with a sign and a fraction."""
    whole, point, fraction = value.partition(b".")
    seconds = decimal(whole or b"0", "time")
    if not point:
        return seconds * 1_000_000_000
    if not fraction.isdigit() and fraction:
        raise Malformed(f"its time is {value[:40]!r}, which is no number")
    part = int(fraction[:9].ljust(9, b"0"))
    return seconds * 1_000_000_000 + (-part if value.startswith(b"-") else part)

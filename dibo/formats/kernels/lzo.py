"""LZO1X in lzop's file format, as the kernel's build packs a kernel with `lzop`.

    89 "LZO" 00 0d 0a 1a 0a; u16 version, u16 library, u16 needed, u8 method, u8 level, u32 flags, (u32 filter), u32
    mode, u32 time, u32 time's upper half; u8 length and name; u32 checksum of the header
    blocks: u32 unpacked size (0 ends), u32 packed size, u32 checksum (twice if packed and both are flagged), data

All numbers big-endian. lzop's lzop.c; the kernel's lib/decompress_unlzo.c, and for the data
Documentation/staging/lzo.rst.
"""

from __future__ import annotations

import struct
from typing import Final

from dibo.formats.kernels.errors import KernelImageError

MAGIC: Final = b"\x89LZO\x00\r\n\x1a\n"
_LARGEST: Final = 64 << 20
_FILTER: Final = 0x00000800
_ADLER_UNPACKED, _ADLER_PACKED = 0x01, 0x02
_CRC_UNPACKED, _CRC_PACKED = 0x100, 0x200


def decompress(data: bytes, *, limit: int) -> bytes:
    """All blocks. Raises KernelImageError, also for more than `limit` bytes."""
    try:
        flags, at = _header(data)
        out: list[bytes] = []
        total = 0
        while (size := struct.unpack_from(">I", data, at)[0]) != 0:
            (packed,) = struct.unpack_from(">I", data, at + 4)
            at += 8 + 4 * sum(bool(flags & bit) for bit in (_ADLER_UNPACKED, _CRC_UNPACKED))
            if packed < size:
                at += 4 * sum(bool(flags & bit) for bit in (_ADLER_PACKED, _CRC_PACKED))
            total += size
            if total > limit or size > _LARGEST:
                raise KernelImageError(f"unpacks to more than {limit} bytes")
            block = data[at : at + packed]
            out.append(block if packed == size else lzo1x(block, size))
            at += packed
    except (IndexError, struct.error):
        raise KernelImageError("has data of LZO that ends too early") from None
    return b"".join(out)


def _header(data: bytes) -> tuple[int, int]:
    """Flags, and where the blocks begin."""
    at = len(MAGIC)
    (version,) = struct.unpack_from(">H", data, at)
    at += 7 if version >= 0x0940 else 5  # library, and the version that is needed
    at += 1 if version >= 0x0940 else 0  # the level
    (flags,) = struct.unpack_from(">I", data, at)
    at += 4 + (4 if flags & _FILTER else 0) + 8  # mode, time
    at += 4 if version >= 0x0940 else 0
    return flags, at + 1 + data[at] + 4


def lzo1x(data: bytes, size: int) -> bytes:
    """One block of `size` bytes. Raises KernelImageError, IndexError where it ends too early."""
    out = bytearray()
    at = 0
    state = 0  # literals that the last instruction had: 0 to 3, or 4 for a run of them
    if data[0] > 17:
        count = data[0] - 17
        out += data[1 : 1 + count]
        at, state = 1 + count, min(count, 4)
    while True:
        code = data[at]
        at += 1
        if code < 16 and state == 0:
            count, at = _length(data, at, code, 15)
            out += data[at : at + count + 3]
            at += count + 3
            state = 4
            continue
        if code < 16:
            back = (code >> 2) + (data[at] << 2) + (1 if state < 4 else 2049)
            at += 1
            length, rest = (2, code & 3) if state < 4 else (3, code & 3)
        elif code < 64:
            length, at = _length(data, at, code & (31 if code >= 32 else 7), 31 if code >= 32 else 7)
            word = data[at] | data[at + 1] << 8
            at += 2
            back = (word >> 2) + (1 if code >= 32 else 0x4000 + ((code & 8) << 11))
            length, rest = length + 2, word & 3
            if code < 32 and back == 0x4000:
                break  # the end
        else:
            length = (code >> 5) + 1 if code >= 128 else 3 + ((code >> 5) & 1)
            back = ((code >> 2) & 7) + (data[at] << 3) + 1
            at, rest = at + 1, code & 3
        _repeat(out, back, length, size)
        out += data[at : at + rest]
        at, state = at + rest, rest
    if len(out) != size:
        raise KernelImageError("has a damaged block of LZO")
    return bytes(out)


def _length(data: bytes, at: int, value: int, base: int) -> tuple[int, int]:
    """A number that continues where it is 0: 255 for each byte of zero, and the byte after them; and where it ends."""
    if value:
        return value, at
    while data[at] == 0:
        base += 255
        at += 1
    return base + data[at], at + 1


def _repeat(out: bytearray, back: int, length: int, size: int) -> None:
    start = len(out) - back
    if start < 0 or len(out) + length > size:
        raise KernelImageError("has a damaged block of LZO")
    if back >= length:
        out += out[start : start + length]
    else:
        out += (out[start:] * (length // back + 1))[:length]

"""LZ4 in its legacy frame, as the kernel's build packs a kernel or an initramfs with `lz4 -l`.

    u32 magic 0x184c2102, then blocks: u32 bytes, data; each gives 8 MiB but the last

    data    token: high four bits literals, low four bits match length - 4; 15 means that bytes are added until one is
            not 255
            literals; u16 how far back the match begins; a block ends with literals

LZ4 block format, lz4 frame format ("Legacy frame"); the kernel's lib/decompress_unlz4.c.
"""

from __future__ import annotations

import struct
from typing import Final

from dibo.formats.kernels.errors import KernelImageError

MAGIC: Final = b"\x02\x21\x4c\x18"
_BLOCK: Final = 8 << 20
_LARGEST: Final = _BLOCK + _BLOCK // 255 + 16


def decompress(data: bytes, *, limit: int) -> bytes:
    """All blocks; bytes behind the last, such as the size that the kernel's build adds, are left. Raises
    KernelImageError, also for more than `limit` bytes."""
    out: list[bytes] = []
    at, total = len(MAGIC), 0
    while at + 4 <= len(data):
        (size,) = struct.unpack_from("<I", data, at)
        if not 0 < size <= _LARGEST or at + 4 + size > len(data):
            break  # the size of the whole
        block = _block(data[at + 4 : at + 4 + size])
        total += len(block)
        if total > limit:
            raise KernelImageError(f"unpacks to more than {limit} bytes")
        out.append(block)
        at += 4 + size
        if len(block) < _BLOCK:
            break
    return b"".join(out)


def _block(data: bytes) -> bytes:
    out = bytearray()
    at, end = 0, len(data)
    try:
        while at < end:
            token = data[at]
            at += 1
            literals = token >> 4
            if literals == 15:
                while (more := data[at]) == 255:
                    literals += 255
                    at += 1
                literals += more
                at += 1
            out += data[at : at + literals]
            at += literals
            if at >= end:
                if at > end:
                    raise KernelImageError("has a damaged block of LZ4")
                break
            back = data[at] | data[at + 1] << 8
            at += 2
            length = token & 15
            if length == 15:
                while (more := data[at]) == 255:
                    length += 255
                    at += 1
                length += more
                at += 1
            length += 4
            start = len(out) - back
            if not back or start < 0 or len(out) + length > _BLOCK:
                raise KernelImageError("has a damaged block of LZ4")
            if back >= length:
                out += out[start : start + length]
            else:
                out += (out[start:] * (length // back + 1))[:length]
    except IndexError:
        raise KernelImageError("has a block of LZ4 that ends too early") from None
    return bytes(out)

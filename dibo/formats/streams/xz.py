"""Pieces of the .xz file format 1.2 (tukaani.org), for writers of blocks."""

from __future__ import annotations

import struct
import zlib


def multibyte(value: int) -> bytes:
    """An integer from 0 on: seven bits a byte, the lowest first; all bytes but the last have bit 7 set."""
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def padded(data: bytes) -> bytes:
    """With zeros up to a multiple of four bytes."""
    return data + bytes(-len(data) % 4)


def crc32(data: bytes) -> bytes:
    """Its CRC-32, as it is stored."""
    return struct.pack("<I", zlib.crc32(data))


def index_and_footer(records: bytes, count: int, flags: bytes) -> bytes:
    """The end of a stream: the index of `count` records, which are in `records`, and the footer with the stream's
    `flags`, two bytes."""
    index = padded(b"\0" + multibyte(count) + records)
    index += crc32(index)
    footer = struct.pack("<I", len(index) // 4 - 1) + flags
    return index + crc32(footer) + footer + b"YZ"

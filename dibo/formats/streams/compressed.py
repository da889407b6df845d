"""A stream of pieces as .gz, .xz or .zst: by several threads, the same bytes however many there are, and no time.

    gzip   one member (RFC 1952). Each piece is compressed for itself and ends at a byte (a full flush), so pieces only
           have to be put behind each other
    xz     one stream of blocks (the .xz file format 1.1.0, tukaani.org), each a piece, as `xz -T` makes it
    zstd   one frame (RFC 8878) by the library's own threads

Pieces of zeros are compressed once.
"""

from __future__ import annotations

import functools
import lzma
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from dibo.formats import magic
from dibo.formats.streams.disk_file import ByteSink, pieces
from dibo.formats.streams.in_threads import in_order, thread_count
from dibo.formats.streams.xz import crc32, index_and_footer, multibyte, padded
from dibo.units import MIB

_GZIP_PIECE: Final = MIB
_GZIP_LEVEL: Final = 6
_GZIP_HEADER: Final = magic.GZIP + bytes((8, 0, 0, 0, 0, 0, 0, 255))
"""Deflate, no flags, no time, no system."""
_GZIP_END: Final = b"\x03\x00"
"""An empty last block of deflate."""
_XZ_PIECE: Final = 16 * MIB
_XZ_FLAGS: Final = b"\x00\x01"
"""Each block is checked by a CRC-32, which every decoder knows."""
_XZ_FILTER: Final = {"id": lzma.FILTER_LZMA2, "preset": 6}
_XZ_FILTER_FLAGS: Final = b"\x21\x01\x16"
"""LZMA2, a byte of properties: a dictionary of 8 MiB, that of preset 6."""
_ZSTD_PIECE: Final = 4 * MIB
_ZSTD_LEVEL: Final = 3


def write_gzip(stream: Iterator[bytes | None], out: ByteSink, *, piece: int) -> None:
    """`stream` are the pieces, each of `piece` bytes but the last; None is a whole one of zeros."""
    from zlib_ng import zlib_ng

    zeros = bytes(piece)
    packed_zeros = _deflated(zeros)
    checksum, size = 0, 0
    out.write(_GZIP_HEADER)
    for data, packed in in_order(
        lambda data: (data, packed_zeros if data is None else _deflated(data)), stream
    ):
        checksum = zlib_ng.crc32(zeros if data is None else data, checksum)
        size += piece if data is None else len(data)
        out.write(packed)
    out.write(_GZIP_END + struct.pack("<II", checksum, size & 0xFFFFFFFF))


def gzip_file(file: BinaryIO, out: ByteSink) -> None:
    write_gzip(_sized(file, _GZIP_PIECE), out, piece=_GZIP_PIECE)


def zstd_file(file: BinaryIO, out: ByteSink) -> None:
    import os

    import zstandard

    # The bytes depend on whether there are threads, not on how many.
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, threads=thread_count(), write_checksum=True)
    packer = compressor.compressobj(size=os.fstat(file.fileno()).st_size)
    zeros = bytes(_ZSTD_PIECE)
    for piece in _sized(file, _ZSTD_PIECE):
        out.write(packer.compress(zeros if piece is None else piece))
    out.write(packer.flush())


def xz_file(file: BinaryIO, out: ByteSink) -> None:
    out.write(magic.XZ + _XZ_FLAGS + crc32(_XZ_FLAGS))
    zeros = functools.cache(lambda: _xz_block(bytes(_XZ_PIECE)))
    records = []
    for block, unpadded, size in in_order(
        lambda piece: zeros() if piece is None else _xz_block(piece), _sized(file, _XZ_PIECE)
    ):
        out.write(block)
        records.append(multibyte(unpadded) + multibyte(size))
    out.write(index_and_footer(b"".join(records), len(records), _XZ_FLAGS))


COMPRESSIONS: Final[dict[str, Callable[[BinaryIO, ByteSink], None]]] = {
    "gz": gzip_file,
    "xz": xz_file,
    "zst": zstd_file,
}
"""What compresses a file, by the end of its name."""


def _sized(file: BinaryIO, size: int) -> Iterator[bytes | None]:
    """The pieces of a file; a last one of zeros that is shorter is given as what it is."""
    import os

    left = os.fstat(file.fileno()).st_size
    for data in pieces(file, size=size):
        yield bytes(left) if data is None and left < size else data
        left -= size


def _deflated(data: bytes) -> bytes:
    from zlib_ng import zlib_ng

    packer = zlib_ng.compressobj(_GZIP_LEVEL, zlib_ng.DEFLATED, -15, 9)
    return bytes(packer.compress(data) + packer.flush(zlib_ng.Z_FULL_FLUSH))


def _xz_block(data: bytes) -> tuple[bytes, int, int]:
    """A block, its size without padding, and the size of what it holds."""
    packed = lzma.compress(data, format=lzma.FORMAT_RAW, filters=[_XZ_FILTER])
    # Flags: one filter, both sizes are told.
    head = b"\xc0" + multibyte(len(packed)) + multibyte(len(data)) + _XZ_FILTER_FLAGS
    words = -(-(1 + len(head)) // 4)
    head = bytes((words,)) + head.ljust(words * 4 - 1, b"\0")
    head += crc32(head)
    check = crc32(data)
    return head + padded(packed) + check, len(head) + len(packed) + len(check), len(data)

"""Compression of a ramdisk, in parallel, in forms that the kernel unpacks, and with the same bytes from every machine.

    zstd    one frame; the library splits it into jobs by itself, of a size that does not depend on the number of
            threads
    gzip    one member (RFC 1952): blocks of a fixed size deflated apart, each flushed to a byte
    xz      one block of one stream (xz-file-format): an LZMA2 stream is a sequence of chunks, so blocks of a fixed size
            are compressed apart, each beginning with a new dictionary; CRC32, which is what the kernel has
    none    as it is

The kernel unpacks one gzip member, one xz stream: files of several, as parallel compressors often write, are no way
out.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from dibo.errors import UsageError
from dibo.formats import magic
from dibo.formats.streams.in_threads import in_order
from dibo.formats.streams.xz import crc32, index_and_footer, multibyte
from dibo.tree.node import Buffer

LEVELS: Final = {"zstd": range(1, 20), "gzip": range(1, 10), "xz": range(10), "none": range(1)}
DEFAULTS: Final = {"zstd": 9, "gzip": 6, "xz": 6, "none": 0}
_BLOCK: Final = 1 << 20
_XZ_BLOCK: Final = 8 << 20
_BATCH: Final = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class RamdiskCompression:
    """A method and its level."""

    method: str
    level: int


def parse_compression(text: str) -> RamdiskCompression:
    """`zstd`, `zstd:19`, `gzip`, `xz`, `none`. Raises UsageError."""
    method, _, level = text.partition(":")
    if method not in LEVELS:
        raise UsageError(
            f"{text!r} is not a known compression", hint=f"use {', '.join(LEVELS)}, or a level: zstd:19"
        )
    if level and (not level.isdecimal() or int(level) not in LEVELS[method]):
        levels = LEVELS[method]
        raise UsageError(f"{text!r}: levels of {method} are {levels.start} to {levels.stop - 1}")
    return RamdiskCompression(method=method, level=int(level) if level else DEFAULTS[method])


def compress(
    pieces: Iterable[Buffer], compression: RamdiskCompression, *, threads: int | None = None
) -> Iterator[Buffer]:
    """The compressed form of `pieces`, in pieces."""
    count = threads or os.cpu_count() or 1
    match compression.method:
        case "zstd":
            return _zstd(_batches(pieces, _BATCH), compression.level, count)
        case "gzip":
            return _gzip(_batches(pieces, _BLOCK), compression.level, count)
        case "xz":
            return _xz(_batches(pieces, _XZ_BLOCK), compression.level, count)
    return iter(_batches(pieces, _BATCH))


def _batches(pieces: Iterable[Buffer], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of `size`, the last one smaller."""
    batch = bytearray()
    for piece in pieces:
        view = memoryview(piece)
        while len(batch) + len(view) >= size:
            room = size - len(batch)
            batch += view[:room]
            yield bytes(batch)
            batch.clear()
            view = view[room:]
        batch += view
    if batch:
        yield bytes(batch)


def _zstd(batches: Iterable[bytes], level: int, threads: int) -> Iterator[bytes]:
    import zstandard

    # Always jobs of threads, even where there is one: a frame made without them has other bytes.
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, threads=max(1, threads), write_checksum=True, write_content_size=False
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    for batch in batches:
        if out := compressor.compress(batch):
            yield out
    yield compressor.flush()


def _marked(batches: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each batch, and whether it is the last; an empty one where there is none."""
    before: bytes | None = None
    for batch in batches:
        if before is not None:
            yield before, False
        before = batch
    yield before or b"", True


def _gzip(batches: Iterable[bytes], level: int, threads: int) -> Iterator[bytes]:
    from zlib_ng import zlib_ng

    def deflate(marked: tuple[bytes, bool]) -> tuple[bytes, bytes]:
        batch, last = marked
        compressor = zlib_ng.compressobj(level, zlib_ng.DEFLATED, -15)
        out = compressor.compress(batch)
        return batch, bytes(out + compressor.flush(zlib_ng.Z_FINISH if last else zlib_ng.Z_FULL_FLUSH))

    yield magic.GZIP + b"\x08\0\0\0\0\0\0\xff"  # deflate, no name, no time, an unknown system
    crc, size = 0, 0
    for batch, out in in_order(deflate, _marked(batches), threads=threads):
        crc, size = zlib.crc32(batch, crc), size + len(batch)
        yield out
    yield struct.pack("<II", crc, size & 0xFFFFFFFF)


def _xz(batches: Iterable[bytes], level: int, threads: int) -> Iterator[bytes]:
    import lzma

    dictionary = 23  # 2^23 = _XZ_BLOCK: more would find nothing, and the kernel keeps it in memory
    filters = [{"id": lzma.FILTER_LZMA2, "preset": level, "dict_size": 1 << dictionary}]

    def chunks(marked: tuple[bytes, bool]) -> tuple[bytes, bytes]:
        batch, last = marked
        out = lzma.compress(batch, format=lzma.FORMAT_RAW, filters=filters)
        return batch, out if last else out[:-1]  # a zero ends the stream of chunks

    flags = b"\0\x01"  # check: CRC32
    yield magic.XZ + flags + crc32(flags)
    header = b"\x02\0\x21\x01" + bytes([2 * (dictionary - 12)]) + b"\0\0\0"  # 12 bytes; one filter, LZMA2
    yield header + crc32(header)
    size, plain, crc = 0, 0, 0
    for batch, out in in_order(chunks, _marked(batches), threads=threads):
        size, plain, crc = size + len(out), plain + len(batch), zlib.crc32(batch, crc)
        yield out
    yield bytes(-size % 4) + struct.pack("<I", crc)
    yield index_and_footer(multibyte(len(header) + 4 + size + 4) + multibyte(plain), 1, flags)

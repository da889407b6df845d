"""Compressed images: gzip, xz and zstd, told by their first bytes, as streams of bounded memory."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pull import zstd
from pull.errors import PullError

_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\0"
_OUT = 1 << 20
_XZ_MEMORY = 128 << 20  # xz -9 wants 65 MiB
_LEFTOVER = b"\0"
"""What may follow the end: tapes and some tools pad with zeros."""
_Codec = Any
"""zlib's decompressobj, whose type has no name, and lzma's."""


def kind_of(head: bytes) -> str:
    """`gzip`, `xz`, `zstd`; empty for anything else."""
    for magic, kind in ((_GZIP, "gzip"), (_XZ, "xz"), (zstd.MAGIC, "zstd")):
        if head.startswith(magic):
            return kind
    return ""


def decompress(kind: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes within. Raises PullError when they are damaged or end too early."""
    ways: dict[str, Callable[[Iterable[bytes]], Iterator[bytes]]] = {
        "gzip": lambda pieces: _members(pieces, _new_gzip, _of_gzip),
        "xz": lambda pieces: _members(pieces, _new_xz, _of_xz),
        "zstd": zstd.decompress,
    }
    try:
        yield from ways[kind](pieces)
    except (ValueError, zlib.error, lzma.LZMAError) as error:
        raise PullError(f"the image is damaged: it is no sound {kind} ({error})") from error


def _members(
    pieces: Iterable[bytes], new: Callable[[], _Codec], drain: Callable[[_Codec, bytes], Iterator[bytes]]
) -> Iterator[bytes]:
    """Members of RFC 1952, streams of the .xz file format: one after the other, with zeros between them or none.
    `drain` gives what comes out of some bytes."""
    codec, begun = new(), False
    for piece in pieces:
        while piece:
            piece = piece if begun else piece.lstrip(_LEFTOVER)
            if not piece:
                break
            begun = True
            yield from drain(codec, piece)
            piece = b""
            if codec.eof:
                piece = codec.unused_data
                codec, begun = new(), False
    if begun:
        raise ValueError("it ends too early")


def _of_gzip(codec: _Codec, data: bytes) -> Iterator[bytes]:
    while data and not codec.eof:  # the end of a member is read after all that it has
        yield codec.decompress(data, _OUT)
        data = codec.unconsumed_tail


def _of_xz(codec: _Codec, data: bytes) -> Iterator[bytes]:
    yield codec.decompress(data, _OUT)
    while not codec.eof and not codec.needs_input:
        yield codec.decompress(b"", _OUT)


def _new_gzip() -> _Codec:
    return zlib.decompressobj(wbits=31)


def _new_xz() -> _Codec:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

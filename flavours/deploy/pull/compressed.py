"""Compressed images: gzip, xz and zstd, told by their first bytes, as streams of bounded memory."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dibo.formats import magic
from pull import zstd
from pull.errors import PullError

_KNOWN = ("gzip", "xz", "zstd")
_FIRST = 1 << 10
"""Bytes that a new member is given at once: what it leaves is copied, so many small members would be copied often."""
_OUT = 1 << 20
_XZ_MEMORY = 128 << 20  # xz -9 wants 65 MiB
_LEFTOVER = b"\0"
"""What may follow the end: tapes and some tools pad with zeros."""
_Codec = Any
"""zlib's decompressobj, whose type has no name, and lzma's."""


def kind_of(head: bytes) -> str:
    """`gzip`, `xz`, `zstd`; empty for anything else."""
    kind = magic.compression(head)
    return kind if kind in _KNOWN else ""


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
    codec, begun, step = new(), False, _FIRST
    for piece in pieces:
        at = 0
        while at < len(piece):
            if not begun:
                at = _behind_zeros(piece, at)
                if at == len(piece):
                    break
                begun, step = True, _FIRST
            part = piece[at : at + step]
            yield from drain(codec, part)
            at, step = at + len(part), step * 2
            if codec.eof:
                at -= len(codec.unused_data)
                codec, begun = new(), False
    if begun:
        raise ValueError("it ends too early")


def _behind_zeros(piece: bytes, at: int) -> int:
    """Where something else than padding begins."""
    while at < len(piece) and piece[at] == 0:
        part = piece[at : at + _FIRST]
        at += len(part) - len(part.lstrip(_LEFTOVER))
    return at


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

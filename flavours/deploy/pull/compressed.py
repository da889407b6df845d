"""Compressed images: gzip, xz and zstd, told by their first bytes, as streams of bounded memory."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator

from pull import zstd
from pull.errors import PullError

_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\0"
_OUT = 1 << 20
_XZ_MEMORY = 128 << 20  # xz -9 wants 65 MiB
_LEFTOVER = b"\0"
"""What may follow the end: tapes and some tools pad with zeros."""


def kind_of(head: bytes) -> str:
    """`gzip`, `xz`, `zstd`; empty for anything else."""
    for magic, kind in ((_GZIP, "gzip"), (_XZ, "xz"), (zstd.MAGIC, "zstd")):
        if head.startswith(magic):
            return kind
    return ""


def decompress(kind: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes within. Raises PullError when they are damaged or end too early."""
    ways: dict[str, Callable[[Iterable[bytes]], Iterator[bytes]]] = {
        "gzip": _gzip,
        "xz": _xz,
        "zstd": zstd.decompress,
    }
    try:
        yield from ways[kind](pieces)
    except (ValueError, zlib.error, lzma.LZMAError) as error:
        raise PullError(f"the image is damaged: it is no sound {kind} ({error})") from error


def _gzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Members, one after the other (RFC 1952)."""
    codec, begun = zlib.decompressobj(wbits=31), False
    for piece in pieces:
        while piece:
            if not begun:
                piece = piece.lstrip(_LEFTOVER)
            begun = begun or bool(piece)
            if not piece:
                break
            yield codec.decompress(piece, _OUT)
            piece = codec.unconsumed_tail
            if codec.eof:
                piece = codec.unused_data
                codec, begun = zlib.decompressobj(wbits=31), False
    while begun and (rest := codec.decompress(codec.unconsumed_tail, _OUT)):
        yield rest
        begun = not codec.eof
    if begun:
        raise ValueError("it ends too early")


def _xz(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Streams, one after the other, and padding (the .xz file format, 2.2)."""
    codec, begun = _new_xz(), False
    for piece in pieces:
        while piece:
            if not begun:
                piece = piece.lstrip(_LEFTOVER)
            begun = begun or bool(piece)
            if not piece:
                break
            yield codec.decompress(piece, _OUT)
            while not codec.needs_input and not codec.eof:
                yield codec.decompress(b"", _OUT)
            piece = b""
            if codec.eof:
                piece = codec.unused_data
                codec, begun = _new_xz(), False
    if begun:
        raise ValueError("it ends too early")


def _new_xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

"""zstd by libzstd, which every root has since dpkg needs it; Python has a module for it from 3.14 on.

Streaming decompression of zstd.h. A window beyond the library's default limit of 128 MiB is refused there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from pull.errors import PullError

_OUT = 1 << 20


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer."""

    _fields_ = (("at", ctypes.c_void_p), ("size", ctypes.c_size_t), ("pos", ctypes.c_size_t))


@lru_cache(maxsize=1)
def _library() -> Any:
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError as error:
        raise PullError(f"the image is compressed by zstd, and there is no libzstd here: {error}") from error
    library.ZSTD_createDStream.restype = ctypes.c_void_p
    library.ZSTD_initDStream.argtypes = [ctypes.c_void_p]
    library.ZSTD_initDStream.restype = ctypes.c_size_t
    library.ZSTD_freeDStream.argtypes = [ctypes.c_void_p]
    library.ZSTD_decompressStream.argtypes = [
        ctypes.c_void_p,
        ctypes.POINTER(_Buffer),
        ctypes.POINTER(_Buffer),
    ]
    library.ZSTD_decompressStream.restype = ctypes.c_size_t
    library.ZSTD_isError.argtypes = [ctypes.c_size_t]
    library.ZSTD_getErrorName.argtypes = [ctypes.c_size_t]
    library.ZSTD_getErrorName.restype = ctypes.c_char_p
    return library


class Decompressor:
    """Of one frame after the other. `ended` says whether the last one is complete."""

    def __init__(self) -> None:
        self._library = _library()
        self._stream = self._library.ZSTD_createDStream()
        self._out = ctypes.create_string_buffer(_OUT)
        self.ended = True

    def close(self) -> None:
        if self._stream:
            self._library.ZSTD_freeDStream(self._stream)
            self._stream = None

    def __del__(self) -> None:
        self.close()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What comes out, at most a mebibyte at a time. Raises ValueError for damaged data."""
        source = ctypes.create_string_buffer(data, len(data))
        given = _Buffer(ctypes.addressof(source), len(data), 0)
        while True:
            out = _Buffer(ctypes.addressof(self._out), _OUT, 0)
            if given.pos < given.size or not self.ended:
                code = self._library.ZSTD_decompressStream(
                    self._stream, ctypes.byref(out), ctypes.byref(given)
                )
                if self._library.ZSTD_isError(code):
                    raise ValueError(self._library.ZSTD_getErrorName(code).decode())
                self.ended = code == 0
            if out.pos:
                yield self._out.raw[: out.pos]
            if given.pos == given.size and out.pos < _OUT:
                return

    def cluster(self, data: bytes, size: int) -> bytes:
        """The first `size` bytes of one frame, whatever follows it. Raises ValueError."""
        self._library.ZSTD_initDStream(self._stream)
        self.ended = True
        found = bytearray()
        source = ctypes.create_string_buffer(data, len(data))
        given = _Buffer(ctypes.addressof(source), len(data), 0)
        while len(found) < size:
            out = _Buffer(ctypes.addressof(self._out), min(_OUT, size - len(found)), 0)
            code = self._library.ZSTD_decompressStream(self._stream, ctypes.byref(out), ctypes.byref(given))
            if self._library.ZSTD_isError(code):
                raise ValueError(self._library.ZSTD_getErrorName(code).decode())
            found += ctypes.string_at(self._out, out.pos)
            if code == 0 or not out.pos:
                break
        return bytes(found)


def decompress(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A stream of frames. Raises ValueError when it is damaged or ends within one."""
    codec = Decompressor()
    try:
        for piece in pieces:
            yield from codec.feed(piece)
        if not codec.ended:
            raise ValueError("it ends within a frame")
    finally:
        codec.close()

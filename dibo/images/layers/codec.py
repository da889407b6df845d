"""How a layer is compressed: told by its first bytes, whatever the manifest says, and undone.

OCI has three ways (image specification, layer.md): a plain tar, gzip (RFC 1952) and zstd (RFC 8878). Both may be
several members, or frames, in a row; zstd frames may be skippable, as in the layers that podman makes (zstd:chunked).

A gzip stream that is cut short is Broken. Of a zstd stream python-zstandard does not say so: sizes, digests and the
archive in it do.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Final, Protocol

from dibo.errors import LayerError
from dibo.formats import magic

MAGIC_BYTES: Final = 6
_READ = 1 << 19


class Broken(Exception):
    """The compressed stream is damaged."""


class StoredBytes(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...

    def readinto(self, buffer: memoryview, /) -> int: ...


def sniff(start: bytes) -> str:
    """`gzip`, `zstd`, `plain`; or the name of a compression that images do not have."""
    return magic.compression(start) or "plain"


def contradiction(kind: str, media_type: str) -> str:
    """What to say if the manifest says something else, or nothing."""
    stated = next((name for name in ("gzip", "zstd") if media_type.endswith(name)), "plain")
    if not media_type or stated == kind:
        return ""
    return f"is {kind}, though its media type is {media_type}"


def decompressor(kind: str, source: StoredBytes, *, window_bytes: int) -> Callable[[memoryview], int]:
    """A `readinto` that gives the tar, 0 at its end. It raises Broken, and what `source` raises."""
    match kind:
        case "plain":
            return source.readinto
        case "zstd":
            return _zstd(source, window_bytes)
        case "gzip":
            return _gzip(source)
        case _:
            raise LayerError(
                f"a layer is compressed with {kind}; images have gzip, zstd or nothing",
                hint="push the image again with one of these",
            )


def _zstd(source: Any, window_bytes: int) -> Callable[[memoryview], int]:
    import zstandard

    reader = zstandard.ZstdDecompressor(max_window_size=window_bytes).stream_reader(
        source, read_size=_READ, read_across_frames=True
    )

    def readinto(buffer: memoryview) -> int:
        try:
            return reader.readinto(buffer)
        except zstandard.ZstdError as error:
            raise Broken(str(error)) from error

    return readinto


def _gzip(source: Any) -> Callable[[memoryview], int]:
    from isal import igzip, isal_zlib

    damaged: Any = (
        igzip.BadGzipFile,
        zlib.error,
        isal_zlib.error,
        EOFError,
    )
    # What igzip.open reads through, without its buffers on top, which copy every byte once more. Not a public name.
    unbuffered = getattr(igzip, "_IGzipReader", None)
    reader: Any = unbuffered(source, _READ) if unbuffered else igzip.IGzipFile(fileobj=source, mode="rb")  # type: ignore[no-untyped-call]

    def readinto(buffer: memoryview) -> int:
        try:
            return int(reader.readinto(buffer))
        except damaged as error:
            raise Broken(str(error)) from error

    return readinto

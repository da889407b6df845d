"""Compression: what this machine's libraries make of it. Other programs are asked in tests/integration."""

from __future__ import annotations

import gzip
import lzma

import pytest
import zstandard

from dibo.errors import UsageError
from dibo.ramdisk.compress import RamdiskCompression, compress, parse_compression

pytestmark = pytest.mark.slow

TEXT = b"".join(b"%d\n" % number for number in range(400_000))


def packed(data: bytes, method: str, *, threads: int = 2, step: int = 100_001) -> bytes:
    pieces = [data[place : place + step] for place in range(0, len(data), step)]
    return b"".join(map(bytes, compress(pieces, parse_compression(method), threads=threads)))


def unpacked(data: bytes, method: str) -> bytes:
    match method:
        case "gzip":
            return gzip.decompress(data)
        case "xz":
            return lzma.decompress(data, format=lzma.FORMAT_XZ)
        case "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data


@pytest.mark.parametrize("method", ["zstd", "gzip", "xz", "none"])
@pytest.mark.parametrize(
    "data", [b"", b"x", TEXT[: 1 << 20], TEXT], ids=["nothing", "a byte", "a block", "more"]
)
def test_round_trip(method: str, data: bytes) -> None:
    assert unpacked(packed(data, method), method) == data


@pytest.mark.parametrize("method", ["zstd", "gzip", "xz:0"])
def test_the_same_bytes_from_every_machine(method: str) -> None:
    """Whatever the number of processors, and however the bytes come."""
    assert packed(TEXT, method, threads=1) == packed(TEXT, method, threads=5, step=777_777)


def test_gzip_is_one_member_and_xz_one_stream() -> None:
    """The kernel stops at the end of the first."""
    import zlib

    inflater = zlib.decompressobj(31)
    assert inflater.decompress(packed(TEXT, "gzip")) == TEXT and inflater.unused_data == b""
    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    assert (
        decoder.decompress(packed(TEXT * 5, "xz:0")) == TEXT * 5
        and decoder.eof
        and decoder.unused_data == b""
    )
    assert decoder.check == lzma.CHECK_CRC32


def test_what_can_be_asked_for() -> None:
    assert parse_compression("zstd") == RamdiskCompression(method="zstd", level=9)
    assert parse_compression("xz:9") == RamdiskCompression(method="xz", level=9)
    for text in ("lz4", "", "zstd:20", "zstd:x", "gzip:10", "zstd:-1"):
        with pytest.raises(UsageError):
            parse_compression(text)

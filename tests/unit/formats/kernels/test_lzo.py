"""LZO1X in lzop's format: against liblzo2, by both of its compressors, and bytes of any kind."""

from __future__ import annotations

import contextlib
import ctypes
import random
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibo.formats.kernels.errors import KernelImageError
from dibo.formats.kernels.lzo import MAGIC, decompress, lzo1x
from tests.support.requirements import unmet

LIMIT = 64 << 20
CHANCE = random.Random(5)
DATA = {
    "text": b"".join(b"line %d\n" % (number % 777) for number in range(60_000)),
    "chance": CHANCE.randbytes(100_000),
    "zeros": bytes(200_000),
    "mixed": b"".join(CHANCE.randbytes(CHANCE.randrange(40)) * CHANCE.randrange(9) for _ in range(3000)),
    "far": CHANCE.randbytes(30_000) * 3,
    "short": b"abc",
}


def compress(data: bytes, name: str) -> bytes:
    """By liblzo2."""
    try:
        library = ctypes.CDLL("liblzo2.so.2")
    except OSError:
        unmet("liblzo2 is not installed (package liblzo2-2)")
    out = ctypes.create_string_buffer(len(data) + len(data) // 16 + 128)
    size = ctypes.c_size_t(len(out))
    work = ctypes.create_string_buffer(1 << 20)
    assert getattr(library, name)(data, ctypes.c_size_t(len(data)), out, ctypes.byref(size), work) == 0
    return out.raw[: size.value]


def lzop(*blocks: tuple[bytes, bytes], flags: int = 0x03000001) -> bytes:
    """A file of blocks, each unpacked and packed; by default with an Adler-32 of what is unpacked."""
    head = struct.pack(">HHHBBIIII", 0x1030, 0x20A0, 0x0940, 3, 9, flags, 0o644, 0, 0) + b"\x07vmlinux"
    data = MAGIC + head + struct.pack(">I", zlib.adler32(head))
    for unpacked, packed in blocks:
        data += struct.pack(">III", len(unpacked), len(packed), zlib.adler32(unpacked)) + packed
    return data + bytes(4)


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("name", ["lzo1x_1_compress", "lzo1x_999_compress"])
def test_against_liblzo2(kind: str, name: str) -> None:
    assert lzo1x(compress(DATA[kind], name), len(DATA[kind])) == DATA[kind]


def test_a_file_of_blocks() -> None:
    text = DATA["text"]
    packed = lzop((text, compress(text, "lzo1x_999_compress")), (b"as it is", b"as it is"))
    assert decompress(packed + b"\0\0\0\0", limit=LIMIT) == text + b"as it is"


def test_what_is_refused() -> None:
    packed = compress(DATA["text"], "lzo1x_1_compress")
    for damaged in (packed[:-50], packed[50:], packed[:100]):
        with pytest.raises(KernelImageError):
            decompress(lzop((DATA["text"], damaged)), limit=LIMIT)
    with pytest.raises(KernelImageError, match="more than 1000 bytes"):
        decompress(lzop((DATA["text"], packed)), limit=1000)


@given(st.binary(max_size=300), st.integers(1, 5000))
def test_any_bytes(data: bytes, size: int) -> None:
    with contextlib.suppress(KernelImageError):
        assert len(decompress(lzop((bytes(size), data)), limit=LIMIT)) == size

"""A PPM becomes a PNG of the same pixels."""

from __future__ import annotations

import struct
import zlib

import pytest

from dibo.errors import MachineError
from dibo.machines.picture import png_of


def test_pixels_stay() -> None:
    pixels = bytes(range(18))
    png = png_of(b"P6\n3 2\n255\n" + pixels)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack_from(">II", png, 16) == (3, 2)
    size = struct.unpack_from(">I", png, 33)[0]
    assert zlib.decompress(png[41 : 41 + size]) == b"\0" + pixels[:9] + b"\0" + pixels[9:]
    assert struct.unpack_from(">I", png, 29)[0] == zlib.crc32(png[12:29])


@pytest.mark.parametrize("ppm", [b"", b"P5\n1 1\n255\n\0", b"P6\n3 2\n255\nshort"])
def test_what_is_none(ppm: bytes) -> None:
    with pytest.raises(MachineError):
        png_of(ppm)

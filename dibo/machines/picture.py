"""A picture of a screen as PNG, of the PPM that every QEMU writes.

PPM   "P6", width, height, 255, then a byte each of red, green and blue (netpbm, ppm(5))
PNG   a signature, chunks IHDR, IDAT, IEND, each with its length and CRC-32 (ISO/IEC 15948)
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Final

from dibo.errors import MachineError

_HEADER: Final = re.compile(rb"P6\s+(\d{1,5})\s+(\d{1,5})\s+255\s")
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_TRUECOLOUR: Final = (8, 2, 0, 0, 0)
"""Eight bits a channel, colour type 2, and the only methods that there are."""


def png_of(ppm: bytes) -> bytes:
    """Raises MachineError for what is no PPM."""
    header = _HEADER.match(ppm)
    width, height = (int(header[1]), int(header[2])) if header else (0, 0)
    row = width * 3
    pixels = ppm[header.end() :] if header else b""
    if not row or len(pixels) < row * height:
        raise MachineError("the picture of the screen is incomplete")
    # Each row begins with the number of its filter: none.
    rows = b"".join(b"\0" + pixels[start : start + row] for start in range(0, row * height, row))
    head = struct.pack(">II5B", width, height, *_TRUECOLOUR)
    return _SIGNATURE + b"".join(
        _chunk(name, data) for name, data in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

"""The header of a swap space: what mkswap(8) writes, in the first page.

    1024 u32 version 1      1036 UUID (16)         4086 "SWAPSPACE2"
    1028 u32 last page      1052 label (16)
    1032 u32 bad pages: 0

The kernel's include/linux/swap.h, union swap_header. Pages have 4096 bytes: a machine with larger ones does not take
it (mm/swapfile.c), and none of the architectures that dibo knows has.
"""

from __future__ import annotations

import struct
from typing import Final
from uuid import UUID

from dibo.errors import LayoutError
from dibo.formats import magic
from dibo.formats.labels import LIMITS

PAGE: Final = 4096
_LEAST: Final = 10
"""Pages: mkswap makes none with less."""


def swap_header(size: int, *, label: str, uuid: UUID) -> bytes:
    """The first page of a swap space of `size` bytes. Raises LayoutError where that is too little, or the label too
    long."""
    pages = size // PAGE
    if pages < _LEAST:
        raise LayoutError(f"a swap space has at least {_LEAST} pages of 4 KiB, not {pages}")
    raw = label.encode()
    if len(raw) > LIMITS["swap"]:
        raise LayoutError(
            f"{label!r} is longer than the {LIMITS['swap']} bytes that a swap space takes as its label"
        )
    # The kernel counts pages by 32 bits.
    last = min(pages - 1, 0xFFFFFFFF)
    body = bytes(1024) + struct.pack("<III16s16s", 1, last, 0, uuid.bytes, raw)
    return body.ljust(PAGE - 10, b"\0") + magic.SWAP

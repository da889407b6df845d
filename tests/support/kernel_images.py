"""Kernels that were packed as the kernel's build packs them; what they hold is no program."""

from __future__ import annotations

import random
import struct

VMLINUX = b"\x7fELF\x02\x01\x01" + random.Random(3).randbytes(5000) + b"text of a kernel " * 20_000
IMAGE = bytes(0x38) + b"ARM\x64" + VMLINUX


def bzimage(
    payload: bytes, *, size: int | None = len(VMLINUX), version: int = 0x20F, setup: int = 5
) -> bytes:
    """With `size`, as mkpiggy has it, behind the payload; gzip's own end is that already."""
    packed = payload + (struct.pack("<I", size) if size is not None else b"")
    head = bytearray((setup + 1) * 512)
    head[0x1F1] = setup
    head[0x1FE:0x200] = b"\x55\xaa"
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, version)
    struct.pack_into("<II", head, 0x248, 64, len(packed))
    return bytes(head) + bytes(64) + packed + b"code behind the payload"


def zboot(payload: bytes) -> bytes:
    head = bytearray(512)
    head[:8] = b"MZ\0\0zimg"
    struct.pack_into("<II", head, 8, 512, len(payload))
    head[24:29] = b"gzip\0"
    return bytes(head) + payload + b"behind"

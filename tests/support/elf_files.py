"""Small ELF files, made for tests: as much as a loader or kmod would look at."""

from __future__ import annotations

import struct
from collections.abc import Sequence

X86_64 = 62
AARCH64 = 183
_TAGS = {"NEEDED": 1, "RPATH": 15, "RUNPATH": 29}


def elf(
    *,
    needed: Sequence[str] = (),
    interpreter: str | None = None,
    rpath: str | None = None,
    runpath: str | None = None,
    names: Sequence[str] = (),
    machine: int = X86_64,
) -> bytes:
    """A program or library of 64 bits. `names` are further words in its table of strings."""
    strings = bytearray(b"\0")
    tags: list[tuple[int, int]] = []
    wanted = [("NEEDED", name) for name in needed]
    wanted += [(tag, value) for tag, value in (("RPATH", rpath), ("RUNPATH", runpath)) if value is not None]
    for tag, value in wanted:
        tags.append((_TAGS[tag], len(strings)))
        strings += value.encode() + b"\0"
    for name in names:
        strings += name.encode() + b"\0"
    count = 2 + (interpreter is not None)
    base = 64 + 56 * count
    interp = interpreter.encode() + b"\0" if interpreter is not None else b""
    table = base + len(interp)
    dynamic_at = table + len(strings) + -(table + len(strings)) % 8
    tags += [(5, table), (10, len(strings)), (0, 0)]  # STRTAB, STRSZ, NULL
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    size = dynamic_at + len(dynamic)

    def segment(kind: int, offset: int, length: int) -> bytes:
        return struct.pack("<IIQQQQQQ", kind, 4, offset, offset, offset, length, length, 8)

    segments = segment(1, 0, size)
    if interpreter is not None:
        segments += segment(3, base, len(interp))
    segments += segment(2, dynamic_at, len(dynamic))
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, count, 64, 0, 0)
    body = header + segments + interp + bytes(strings)
    return body + bytes(dynamic_at - len(body)) + dynamic


def module(**records: Sequence[str]) -> bytes:
    """A kernel module that says of itself what `records` say: `module(firmware=["a.bin"])`."""
    modinfo = b"".join(f"{name}={value}\0".encode() for name, values in records.items() for value in values)
    names = b"\0.modinfo\0.shstrtab\0"
    sections = 64 + len(modinfo) + len(names)
    sections += -sections % 8
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 1, X86_64, 1, 0, 0, sections, 0, 64, 0, 0, 64, 3, 2)

    def section(name: int, kind: int, offset: int, length: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, offset, length, 0, 0, 1, 0)

    body = header + modinfo + names
    table = (
        section(0, 0, 0, 0) + section(1, 1, 64, len(modinfo)) + section(10, 3, 64 + len(modinfo), len(names))
    )
    return body + bytes(sections - len(body)) + table

"""Reads the indexes of depmod, to compare what was written with what was meant."""

from __future__ import annotations

import struct
from collections.abc import Iterator


def read_index(data: bytes) -> list[tuple[str, int, str]]:
    """(key, rank, value) of all entries, in the order of the tree. Raises AssertionError, struct.error, ValueError."""
    magic, version, root = struct.unpack_from(">III", data)
    assert (magic, version) == (0xB007F457, 0x00020001)
    return list(_node(data, root, b""))


def _node(data: bytes, offset: int, key: bytes) -> Iterator[tuple[str, int, str]]:
    place = offset & 0x0FFFFFFF
    if offset & 0x80000000:
        end = data.index(0, place)
        key, place = key + data[place:end], end + 1
    if offset & 0x20000000:
        first, last = data[place], data[place + 1]
        count = last - first + 1
        offsets = struct.unpack_from(f">{count}I", data, place + 2)
        place += 2 + 4 * count
        for number, child in enumerate(offsets):
            if child:
                yield from _node(data, child, key + bytes([first + number]))
    if offset & 0x40000000:
        (count,) = struct.unpack_from(">I", data, place)
        place += 4
        for _ in range(count):
            (rank,) = struct.unpack_from(">I", data, place)
            end = data.index(0, place + 4)
            yield key.decode(), rank, data[place + 4 : end].decode()
            place = end + 1

"""One sparse file in a tar of GNU's old format, as `tar --format=oldgnu -S` writes it: what Google's cloud imports.

    header      ustar's fields with the magic "ustar  ", type "S", the stored size; at 386 four pairs of the map, each
                offset and length; at 482 whether a sector with more of the map follows; at 483 the whole size
    more map    21 pairs and a byte at 504 that says whether another follows
    data        what lies between the holes, padded with zeros to a whole sector at the end; two sectors of zeros

Numbers are octal in 12 bytes, or from 8 GiB on big-endian behind a byte of 0x80. GNU tar, "Basic Tar Format"
(struct oldgnu_header, struct sp_array).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO, Final

from dibo.formats import magic
from dibo.formats.streams.disk_file import ByteSink, pieces
from dibo.units import KIB, SECTOR

_GRAIN: Final = 64 * KIB
"""Stretches of zeros shorter than that are data: or the map would have millions of pieces."""
_FIRST_PAIRS: Final = 4
_MORE_PAIRS: Final = 21
_MAP_AT, _MORE_AT, _REAL_SIZE_AT = 386, 482, 483
_OCTAL_LIMIT: Final = 8**11
_CHECKSUM: Final = slice(148, 156)
_READ: Final = 1 << 20
Run = tuple[int, int]
"""Offset and length of what is not a hole."""


def data_runs(file: BinaryIO) -> list[Run]:
    """What of a file is not zeros, in whole grains but at its end."""
    runs: list[Run] = []
    end = os.fstat(file.fileno()).st_size
    for index, piece in enumerate(pieces(file, size=_GRAIN)):
        if piece is None:
            continue
        offset = index * _GRAIN
        if runs and sum(runs[-1]) == offset:
            runs[-1] = (runs[-1][0], runs[-1][1] + len(piece))
        else:
            runs.append((offset, len(piece)))
    if not runs or sum(runs[-1]) != end:
        runs.append((end, 0))  # an empty piece says how long the file is
    return runs


def sparse_tar(file: BinaryIO, *, name: str, time: int) -> Iterator[bytes]:
    """A tar of the plain file, in pieces, under `name` (at most 100 bytes); `time` in seconds since 1970. Reads the
    file twice: the map comes first."""
    runs = data_runs(file)
    stored = sum(length for _, length in runs)
    size = os.fstat(file.fileno()).st_size
    yield _header(name.encode(), runs, stored=stored, size=size, time=time)
    rest = runs[_FIRST_PAIRS:]
    while rest:
        yield (
            _map(rest[:_MORE_PAIRS], _MORE_PAIRS).ljust(504, b"\0")
            + bytes((len(rest) > _MORE_PAIRS,))
            + bytes(7)
        )
        rest = rest[_MORE_PAIRS:]
    for offset, length in runs:
        for at in range(offset, offset + length, _READ):
            yield os.pread(file.fileno(), min(_READ, offset + length - at), at)
    yield bytes(-stored % SECTOR + 2 * SECTOR)


def write_sparse_tar(file: BinaryIO, out: ByteSink, *, name: str, time: int) -> None:
    for data in sparse_tar(file, name=name, time=time):
        out.write(data)


def _header(name: bytes, runs: list[Run], *, stored: int, size: int, time: int) -> bytes:
    head = bytearray(SECTOR)
    fields = (
        (0, name[:100]),
        (100, b"%07o\0" % 0o644),
        (108, b"%07o\0" % 0),
        (116, b"%07o\0" % 0),
        (124, _number(stored)),
        (136, _number(max(0, time))),
        (148, b" " * 8),
        (156, b"S"),
        (magic.USTAR_AT, magic.USTAR + b"  \0"),
        (_MAP_AT, _map(runs[:_FIRST_PAIRS], _FIRST_PAIRS)),
        (_MORE_AT, bytes((len(runs) > _FIRST_PAIRS,))),
        (_REAL_SIZE_AT, _number(size)),
    )
    for offset, value in fields:
        head[offset : offset + len(value)] = value
    head[_CHECKSUM] = b"%06o\0 " % sum(head)
    return bytes(head)


def _map(runs: list[Run], places: int) -> bytes:
    return b"".join(_number(value) for run in runs for value in run).ljust(places * 24, b"\0")


def _number(value: int) -> bytes:
    return b"%011o\0" % value if value < _OCTAL_LIMIT else b"\x80" + value.to_bytes(11, "big")

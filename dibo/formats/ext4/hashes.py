"""Hashes of file names, for the index of large directories: half of MD4, with a seed
(kernel, fs/ext4/hash.c; kernel documentation, filesystems/ext4/directory.rst).

A name is taken 32 bytes at a time, as eight words, big end first; the last piece is filled up with its length. Bytes
above 127 count as negative numbers, as the flag "signed" in the superblock says.

One hash is some hundred operations on 32-bit numbers. Python takes its time for each, but hardly more for long numbers
than for short ones: so many names are hashed at once, side by side in one number, 64 bits for each:

    |········ word of name 2 |········ word of name 1 |········ word of name 0 |
      └ room for carries and for what is shifted out
"""

from __future__ import annotations

import struct
from array import array
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

_SIDE_BY_SIDE: Final = 512
_PIECE: Final = 32
_ROUND_2: Final = 0x5A827999
_ROUND_3: Final = 0x6ED9EBA1
_NO_SEED: Final = struct.pack("<4I", 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
_EOF: Final = 0xFFFFFFFE
"""The hash that means the end of a directory; no name may have it."""


def hash_names(names: Sequence[bytes], seed: bytes) -> list[int]:
    """The hash of each name; their lowest bit is 0. `seed`: 16 bytes, s_hash_seed."""
    hashes = [0] * len(names)
    by_pieces: defaultdict[int, list[int]] = defaultdict(list)
    for at, name in enumerate(names):
        by_pieces[(len(name) + _PIECE - 1) // _PIECE].append(at)
    for pieces, places in by_pieces.items():
        for first in range(0, len(places), _SIDE_BY_SIDE):
            some = places[first : first + _SIDE_BY_SIDE]
            for at, code in zip(some, _together([names[at] for at in some], pieces, seed), strict=True):
                code &= ~1
                hashes[at] = code if code != _EOF else _EOF - 2
    return hashes


def _together(names: list[bytes], pieces: int, seed: bytes) -> list[int]:
    """Hashes of names that are all of so many pieces."""
    count = len(names)
    ones = int.from_bytes(b"\1\0\0\0\0\0\0\0" * count, "little")
    state = [word * ones for word in struct.unpack("<4I", seed if any(seed) else _NO_SEED)]
    for piece in range(pieces):
        data = b"".join([_words(name, piece * _PIECE) for name in names])
        state = _transform(state, _lanes(data, ones), ones)
    return [code & 0xFFFFFFFF for (code,) in struct.iter_unpack("<Q", state[1].to_bytes(8 * count, "little"))]


def _words(name: bytes, start: int) -> bytes:
    """The 32 bytes of `name` from `start` on, filled up with its remaining length."""
    left = len(name) - start
    if left >= _PIECE:
        return name[start : start + _PIECE]
    fill = bytes((left,))
    whole = start + (left & ~3)
    return (name[start:whole] + fill * (-left & 3) + name[whole:]).ljust(_PIECE, fill)


def _lanes(data: bytes, ones: int) -> list[int]:
    """Word 0 of all names side by side, then word 1, to 7."""
    words = struct.unpack(f">{len(data) // 4}I", data)
    result = []
    for number in range(8):
        lane = int.from_bytes(array("Q", words[number::8]).tobytes(), "little")
        negative = lane & ones * 0x80808080
        if negative:
            lane = lane + ones * 0x2_0000_0000 - (negative << 1) & ones * 0xFFFFFFFF
        result.append(lane)
    return result


def _transform(state: list[int], words: list[int], ones: int) -> list[int]:
    mask = ones * 0xFFFFFFFF
    a, b, c, d = state
    for shifts, order, constant in _ROUNDS:
        add = ones * constant
        for step, number in enumerate(order):
            if constant == 0:
                mixed = d ^ (b & (c ^ d))
            elif constant == _ROUND_2:
                mixed = (b & c) + ((b ^ c) & d)
            else:
                mixed = b ^ c ^ d
            total = a + mixed + words[number] + add & mask
            shift = shifts[step & 3]
            a, b, c, d = d, (total << shift | total >> 32 - shift) & mask, b, c
    return [old + new & mask for old, new in zip(state, (a, b, c, d), strict=True)]


_ROUNDS: Final = (
    ((3, 7, 11, 19), (0, 1, 2, 3, 4, 5, 6, 7), 0),
    ((3, 5, 9, 13), (1, 3, 5, 7, 0, 2, 4, 6), _ROUND_2),
    ((3, 9, 11, 15), (3, 7, 2, 6, 1, 5, 0, 4), _ROUND_3),
)
"""half_md4_transform() of the kernel's fs/ext4/hash.c: how far each step rotates, and which word it adds."""

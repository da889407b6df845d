"""Maps of sparse files: where data lies between holes, in the four ways in which GNU tar says it.

    old GNU   in the header block and in blocks that follow it: offset and size, four, then 21 a block
    PAX 0.0   records GNU.sparse.offset and GNU.sparse.numbytes, in turns (header.records joins them)
    PAX 0.1   one record GNU.sparse.map, numbers with commas
    PAX 1.0   the file's data begins with the map: a count, then numbers, each on a line, padded to whole blocks

(GNU tar manual, "Storing Sparse Files".) Each ends as one tuple of (offset, size), checked: in order, apart, within
the file, and as long together as the data that the archive has.
"""

from __future__ import annotations

from dibo.images.layers.tar_header import Malformed, decimal, number

Map = tuple[tuple[int, int], ...]

_OLD = 24


def old_pieces(data: bytes, count: int) -> list[tuple[int, int]]:
    """Of a header or an extension: `count` pairs of fields, or fewer."""
    pieces = []
    for start in range(0, count * _OLD, _OLD):
        if data[start] == 0:
            break
        pieces.append(
            (
                number(data[start : start + 12], "sparse map"),
                number(data[start + 12 : start + 24], "sparse map"),
            )
        )
    return pieces


def from_record(value: bytes) -> list[tuple[int, int]]:
    """Of formats 0.0 and 0.1."""
    if not value:
        return []
    numbers = [decimal(part, "sparse map") for part in value.split(b",")]
    if len(numbers) % 2:
        raise Malformed("its sparse map has an offset without a size")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


class Lines:
    """The map of format 1.0, block by block."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._lines = 0
        self._wanted = 0

    def add(self, block: bytes) -> bool:
        """Whether the map is whole with this."""
        if not self._blocks:
            count, newline, _ = block.partition(b"\n")
            if not newline:
                raise Malformed("its sparse map does not begin with a count")
            self._wanted = 1 + 2 * decimal(count, "sparse map")
            if self._wanted < 1:
                raise Malformed("its sparse map has a negative count")
        self._blocks.append(block)
        self._lines += block.count(b"\n")
        return self._lines >= self._wanted

    def pieces(self) -> list[tuple[int, int]]:
        lines = b"".join(self._blocks).split(b"\n", self._wanted)[1 : self._wanted]
        numbers = [decimal(line, "sparse map") for line in lines]
        return list(zip(numbers[::2], numbers[1::2], strict=True))


def checked(pieces: list[tuple[int, int]], *, size: int, stored: int) -> Map:
    """`pieces` of a file of `size` bytes, `stored` of them in the archive."""
    position = 0
    total = 0
    for offset, length in pieces:
        if offset < position or length < 0:
            raise Malformed("its sparse map is not in order, or overlaps")
        position = offset + length
        total += length
    if position > size:
        raise Malformed(f"its sparse map goes beyond its {size} bytes")
    if total != stored:
        raise Malformed(f"its sparse map tells of {total} bytes of data, and the archive has {stored}")
    return tuple((offset, length) for offset, length in pieces if length)

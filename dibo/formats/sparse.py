"""Writing to a fresh disk without filling its holes.

A disk that nothing was written to reads as zeros everywhere and takes no space. Zeros written to it would take
space, and time in every copy and compression that follows; so they are left out, block by block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dibo.formats.target import Buffer, Target

BLOCK: Final = 4096
_ZEROS: Final = bytes(1 << 20)


def is_zero(data: Buffer) -> bool:
    """Whether `data` holds nothing but zeros. `bytes.startswith` compares by memcmp(3), without a copy: as fast as
    memory where there are only zeros, and done at the first byte where there are not."""
    if len(data) <= len(_ZEROS):
        return _ZEROS.startswith(data)
    view = memoryview(data)
    return all(_ZEROS.startswith(view[at : at + len(_ZEROS)]) for at in range(0, len(view), len(_ZEROS)))


def filled(offset: int, data: Buffer) -> Iterator[tuple[int, memoryview]]:
    """The runs of `data`, which lies at byte `offset`, that are left without the blocks of 4 KiB (of the disk) that
    are all zero, each with its offset."""
    view = memoryview(data)
    run_start: int | None = None
    position = 0
    while position < len(view):
        end = min(len(view), position + BLOCK - (offset + position) % BLOCK)
        if _ZEROS.startswith(view[position:end]):
            if run_start is not None:
                yield offset + run_start, view[run_start:position]
                run_start = None
        elif run_start is None:
            run_start = position
        position = end
    if run_start is not None:
        yield offset + run_start, view[run_start:]


def put(target: Target, offset: int, data: Buffer) -> None:
    """Write `data` at byte `offset`, except for the blocks of 4 KiB (of the disk) that are all zero.

    The range must read as zeros already. Neighbouring blocks with content are written by one call.
    """
    for start, run in filled(offset, data):
        target.write(start, [run])

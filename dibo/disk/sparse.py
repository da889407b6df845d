"""Writing to a fresh sparse file without filling its holes.

A file that was just truncated to its size reads as zeros everywhere and takes no space. Zeros written to it
would take space, and time in every copy and compression that follows; so they are left out, block by block.
"""

from __future__ import annotations

from typing import BinaryIO

BLOCK = 4096
_ZEROS = bytes(BLOCK)


def put(target: BinaryIO, offset: int, data: bytes) -> None:
    """Write `data` at byte `offset`, except for the blocks of 4 KiB (of the file) that are all zero.

    The range must read as zeros already. Neighbouring blocks with content are written by one call.
    """
    view = memoryview(data)
    run_start: int | None = None
    position = 0
    while position < len(view):
        end = min(len(view), position + BLOCK - (offset + position) % BLOCK)
        if view[position:end] == _ZEROS[: end - position]:
            if run_start is not None:
                _write(target, offset + run_start, view[run_start:position])
                run_start = None
        elif run_start is None:
            run_start = position
        position = end
    if run_start is not None:
        _write(target, offset + run_start, view[run_start:])


def _write(target: BinaryIO, offset: int, view: memoryview) -> None:
    target.seek(offset)
    while view:
        view = view[target.write(view) :]  # an unbuffered file may take less than all

"""What disks are written to: bytes by offset, in any order, on ground that reads as zeros.

A plain file is one; a qcow2, whose clusters are compressed as they fill up, another. Code that lays out a disk knows
only this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

Buffer = bytes | bytearray | memoryview
"""Memoryviews of bytes: format B, contiguous."""


class Target(Protocol):
    """A disk that is being written. Every range is written at most once, unless it was discarded."""

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        """Write `buffers` one after the other from byte `offset` on. They may change after the call."""

    def discard(self, offset: int, size: int) -> None:
        """The range reads as zeros again, and takes no space where that is possible."""

"""CRC32C, as ext4 uses it (kernel documentation, filesystems/ext4/checksums.rst).

ext4 starts at ~0, does not invert at the end, and goes on from one piece to the next: first the UUID, then what says
where a structure belongs (an inode number and generation, a block number), then the structure. The usual CRC32C is
the same number inverted, and goes on from there just as well. So everything here hands on the usual one, and
`stored` gives what is written to the disk.
"""

from __future__ import annotations

import struct

import google_crc32c

extend = google_crc32c.extend
"""extend(crc, bytes) -> crc. Of bytes only: it refuses what may change."""

_INODE = struct.Struct("<II").pack


def stored(crc: int) -> int:
    """The number as it is on the disk."""
    return crc ^ 0xFFFFFFFF


class Checksums:
    """Where the checksums of one file system start."""

    __slots__ = ("seed",)

    def __init__(self, uuid: bytes) -> None:
        self.seed: int = google_crc32c.value(uuid)

    def of(self, data: bytes) -> int:
        """What is stored for `data` that belongs to the file system as a whole: bitmaps."""
        return stored(extend(self.seed, data))

    def inode_seed(self, number: int, generation: int = 0) -> int:
        """Where checksums of what belongs to an inode start: itself, its directory and extent blocks."""
        crc: int = extend(self.seed, _INODE(number, generation))
        return crc

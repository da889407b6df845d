"""What can go wrong while a file system is written."""

from __future__ import annotations


class Ext4Error(Exception):
    """The tree cannot be stored in an ext4 file system, or the writer was used wrongly. The message says what and
    where."""


class NoSpace(Ext4Error):
    """All of it does not fit. A file system larger by `missing` bytes holds it."""

    def __init__(self, missing: int) -> None:
        super().__init__(f"the file system is too small: {missing} bytes are missing")
        self.missing = missing

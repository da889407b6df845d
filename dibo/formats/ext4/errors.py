"""What can go wrong while a file system is written."""

from __future__ import annotations


class Ext4Error(Exception):
    """The tree, or how the writer was used, does not go into an ext4 file system. The message says what and where."""


class NoSpace(Ext4Error):
    """All of it does not fit. A file system larger by `missing` bytes holds it."""

    def __init__(self, missing: int) -> None:
        super().__init__(f"the file system is too small: {missing} bytes are missing")
        self.missing = missing

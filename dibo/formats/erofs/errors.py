"""What can go wrong while a file system is written."""

from __future__ import annotations


class ErofsError(Exception):
    """The tree cannot be stored in an erofs, or the writer was used wrongly. The message says what and where."""

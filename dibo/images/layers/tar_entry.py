"""What an archive says of one entry."""

from __future__ import annotations

from typing import Protocol

from dibo.images.layers.tar_sparse import Map
from dibo.tree.node import Contents


class TarEntry:
    """One entry. `kind` is the type flag, with `0` for all files, `5` for all directories."""

    __slots__ = (
        "device",
        "digest",
        "gid",
        "kind",
        "link",
        "map",
        "mode",
        "mtime",
        "name",
        "records",
        "size",
        "uid",
    )

    def __init__(self) -> None:
        self.name = b""
        self.link = b""
        self.kind = b"0"
        self.mode = 0
        """Permissions alone."""
        self.uid = 0
        self.gid = 0
        self.mtime = 0
        """Nanoseconds since 1970."""
        self.size = 0
        """Of a file, with its holes."""
        self.device = (0, 0)
        self.records: dict[bytes, bytes] | None = None
        """Of PAX, where there are any."""
        self.map: Map | None = None
        """Of a sparse file: where its data lies."""
        self.digest = ""
        """The sha256 of the bytes of a file, hexadecimal, where that is known before they are read."""


class EntryReader(Protocol):
    """What the bytes of entries come from."""

    def copy(self, entry: TarEntry, contents: Contents, kept: list[bytes] | None = None) -> object:
        """Hand the data of `entry` to `contents`, and return what stands for it. `kept` gets a copy, holes and all."""

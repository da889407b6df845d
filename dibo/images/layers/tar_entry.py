"""What an archive says of one entry."""

from __future__ import annotations

from dibo.images.layers.tar_sparse import Map


class TarEntry:
    """One entry. `kind` is the type flag, with `0` for all files, `5` for all directories."""

    __slots__ = ("device", "gid", "kind", "link", "map", "mode", "mtime", "name", "records", "size", "uid")

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

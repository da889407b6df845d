"""Which files' bytes are kept in memory while layers are read, and how many these may be."""

from __future__ import annotations

from collections.abc import Callable

from dibo.images.layers.limits import Limits
from dibo.images.layers.tar_header import Malformed

Keep = Callable[[bytes], bool] | tuple[bytes, ...]
"""By prefixes of paths, without a leading slash, or by a function of the path."""


class Kept:
    def __init__(self, keep: Keep, limits: Limits) -> None:
        self._keep = keep
        self._left = limits.kept_bytes

    def wants(self, path: bytes) -> bool:
        keep = self._keep
        return path.startswith(keep) if isinstance(keep, tuple) else keep(path)

    def reserve(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise Malformed(
                "it is one of the files that dibo reads, which together are larger than the limit"
            )

"""Digests of some files of one layer, read by itself: its entries one by one, without a tree."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from dibo.errors import LayerError
from dibo.images.image import Layer
from dibo.images.layers.change_digest import HashedContents
from dibo.images.layers.layer_tree import parts_of
from dibo.images.layers.limits import Limits
from dibo.images.layers.stream import Stream
from dibo.images.layers.tar_header import Malformed
from dibo.images.layers.tar_reader import Archive


def digests_in(layer: Layer, paths: AbstractSet[bytes], sizes: AbstractSet[int]) -> dict[bytes, str]:
    """The sha256 of the files at `paths`, hexadecimal; `sizes` has the size of each. What the layer has at another
    name, as through a symbolic link, is left out. Raises LayerError, VerificationFailed, and what opening it raises."""
    digests: dict[bytes, str] = {}
    links: dict[bytes, bytes] = {}
    limits = Limits()
    with Stream(layer, limits=limits) as stream:
        archive = Archive(stream, limits)
        try:
            while (entry := archive.next()) is not None:
                path = b"/".join(parts_of(entry.name))
                if entry.kind == b"1":
                    links[path] = b"/".join(parts_of(entry.link))
                elif entry.kind == b"0" and entry.size in sizes:
                    hashing = HashedContents(None)
                    archive.copy(entry, hashing)
                    digests[path] = hashing.digest
        except Malformed as error:
            stream.judge()
            raise LayerError(f"layer {stream.name}: {error}") from error
    named = {path: digests.get(links.get(path, path), "") for path in paths}
    return {path: digest for path, digest in named.items() if digest}

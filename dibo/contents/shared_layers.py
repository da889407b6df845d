"""Layers that two images have at the bottom: read once for both, and of their files only those that inventories need.

The headers go to a file in the run's directory (dibo.images.layers.unpacked), from which both images take them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dibo.contents.kept_files import is_read
from dibo.images.image import Image, Layer
from dibo.images.layers.layer_tree import parts_of
from dibo.images.layers.limits import GIB, Limits
from dibo.images.layers.tar_header import Malformed
from dibo.images.layers.unpacked import open_unpacked, unpack, with_content

_ROOM: Final = GIB
"""Bytes of files that inventories need, of one layer."""


@contextlib.contextmanager
def shared_layers_of(first: Image, second: Image, *, scratch: Path) -> Iterator[tuple[Layer, ...]]:
    """The layers that both have at the bottom, read; none where they share none. Raises as dibo.images.layers.load
    does."""
    with contextlib.ExitStack() as stack:
        layers: list[Layer] = []
        for index, (layer, same) in enumerate(zip(first.layers, second.layers, strict=False)):
            if layer.diff_id is None or layer.diff_id != same.diff_id:
                break
            path = scratch / f"layer-{index}"
            unpack(layer, path, limits=Limits(), room=_ROOM, keep=_is_kept)
            content = open_unpacked(path)
            stack.callback(os.close, content.descriptor)
            path.unlink()
            layers.append(with_content(layer, content))
        yield tuple(layers)


def _is_kept(name: bytes) -> bool:
    """By the name in the tar; one that leads through a symbolic link may be any."""
    try:
        path = b"/".join(parts_of(name))
    except Malformed:
        return False
    return is_read(path)

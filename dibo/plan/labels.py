"""Labels of images that dibo builds."""

from __future__ import annotations

from typing import Final

KEY_LABEL: Final = "io.dibo.key"
EPOCH_LABEL: Final = "io.dibo.epoch"
INGREDIENTS_LABEL: Final = "io.dibo.ingredients"
"""Of images in registries. Not in an engine's store: the document grows with the files of a flavour, and labels are
arguments of buildah, of at most 128 KiB (execve(2))."""
LOCAL_LABEL: Final = "io.dibo.local"
LAYOUT_LABEL: Final = "io.dibo.layout"
"""Of a pushed image: the layout of its disk, as JSON. In no key: it changes no layer."""

"""What engines call the images that they keep.

localhost/dibo/layer:k-KEY      the image that ends with the layer KEY
localhost/dibo/failed:KEY       what a hook left that failed in the step KEY
"""

from __future__ import annotations

from typing import Final

LAYERS: Final = "localhost/dibo/layer"
FAILED: Final = "localhost/dibo/failed"


def layer(key: str) -> str:
    return f"{LAYERS}:k-{key}"


def failed(key: str) -> str:
    return f"{FAILED}:{key}"


def image_of(name: str) -> str:
    """The image of a name that `dibo shell` takes: a key, or `failed-KEY`."""
    return failed(name.removeprefix("failed-")) if name.startswith("failed-") else layer(name)

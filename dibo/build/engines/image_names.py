"""What engines call the images that they keep.

localhost/dibo/layer:k-KEY      the image that ends with the layer KEY
localhost/dibo/failed:KEY       what a hook left that failed in the step KEY
"""

from __future__ import annotations

from collections.abc import Iterable
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


def name_of(image: str) -> str:
    """What `dibo shell` takes for an image; empty for one that is not dibo's."""
    if image.startswith(f"{LAYERS}:k-"):
        return image.removeprefix(f"{LAYERS}:k-")
    if image.startswith(f"{FAILED}:"):
        return f"failed-{image.removeprefix(f'{FAILED}:')}"
    return ""


def names_of(images: Iterable[str]) -> tuple[tuple[str, ...], bool]:
    """What `dibo shell` takes for an image with these names, and whether the user gave it one as well."""
    images = tuple(images)
    names = tuple(name for image in images if (name := name_of(image)))
    return names, len(names) < len(images)

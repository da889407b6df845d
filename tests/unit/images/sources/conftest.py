"""Reading what is in an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dibo.images.image import Image, Reader
from dibo.images.sources.choose import choose_image

Names = Callable[..., tuple[str, ...]]


def whole(reader: Reader) -> bytes:
    parts = []
    while data := reader.read(1000):
        parts.append(data)
    return b"".join(parts)


def layers_of(image: Image) -> list[bytes]:
    found = []
    for layer in reversed(image.layers):
        with layer.open() as reader:
            found.append(whole(reader))
    return found[::-1]


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., tuple[Image, list[bytes]]]:
    """An image and the bytes of its layers, as the reference gives them."""

    def of(reference: str, *, architecture: str = "amd64") -> tuple[Image, list[bytes]]:
        with choose_image(reference, architecture=architecture, scratch=tmp_path) as image:
            return image, layers_of(image)

    return of

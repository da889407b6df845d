"""What a step needs to know of the config of the image that it starts from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dibo.build.engines.image_environment import variables_of
from dibo.errors import ImageError
from dibo.images import documents
from dibo.images.platforms import Platform

TEMPLATE: Final = (
    r'{{.OCIv1.Architecture}}{{"\n"}}{{range .OCIv1.Config.Env}}{{printf "%x" .}}{{"\n"}}{{end}}'
)
"""For `buildah inspect`: what `parse` reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    architecture: str
    """As images say it: `amd64`, `386`."""
    variables: Mapping[str, str]

    @property
    def debian(self) -> str:
        """Debian's word for the architecture."""
        return Platform(os="linux", architecture=self.architecture).debian


def read(config: bytes, image: str) -> ImageConfig:
    """What the config of `image` says (OCI image specification, config.md). Raises ImageError."""
    document = documents.parse(config, description=f"the config of {image}")
    settings = document.get("config") or {}
    words = (settings.get("Env") or []) if isinstance(settings, dict) else None
    if not isinstance(words, list):
        raise ImageError(f"{image}: its config is not one of an image")
    return ImageConfig(
        architecture=str(document.get("architecture", "")), variables=variables_of(map(str, words), image)
    )


def parse(output: str, image: str) -> ImageConfig:
    """What buildah said of `image`. Raises ImageError."""
    architecture, _, variables = output.partition("\n")
    words = [os.fsdecode(bytes.fromhex(line)) for line in variables.split()]
    return ImageConfig(architecture=architecture.strip(), variables=variables_of(words, image))

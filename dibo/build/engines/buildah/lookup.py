"""What buildah's store has, read from its files; buildah is asked where it is, once, and what dibo cannot read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from dibo.build.engines.buildah import image_config
from dibo.build.engines.buildah.image_config import ImageConfig
from dibo.build.engines.buildah.store import seconds
from dibo.images.sources.containers_storage import (
    ImageRecord,
    Unknown,
    find_image,
    find_store,
    image_times,
    read_images,
)
from dibo.system import process

RunBuildah = Callable[..., process.Completed]
"""Runs buildah with these arguments."""


class StoreLookup:
    """Of one engine."""

    def __init__(self, buildah: RunBuildah) -> None:
        self._buildah = buildah
        self._place: tuple[Path, str] | None = None

    def place(self) -> tuple[Path, str]:
        """The directory of the store, and its driver. Raises ToolMissing, CommandFailed."""
        if self._place is None:
            self._place = find_store()
        return self._place

    @property
    def known_driver(self) -> str | None:
        """The driver, if buildah was asked for it."""
        return self._place[1] if self._place is not None else None

    def records(self) -> tuple[ImageRecord, ...]:
        """All images. Raises ImageError, and as `place`."""
        return read_images(*self.place())

    def times(self) -> Mapping[str, float]:
        """When each image with a name was made, in seconds since 1970, by name. Raises ToolMissing, CommandFailed."""
        try:
            made = image_times(*self.place())
        except (Unknown, OSError, ValueError, KeyError):
            return self._listed()
        return {name: seconds(created) for name, created in made.items()}

    def _listed(self) -> Mapping[str, float]:
        listed = self._buildah("images", "--json").stdout
        return {
            str(name): seconds(str(image.get("createdatraw", "")))
            for image in json.loads(listed or "[]") or []
            for name in image.get("names") or []
        }

    def config(self, image: str) -> ImageConfig:
        """The config of an image. Raises ImageError, and as `place`."""
        try:
            return image_config.read(find_image(*self.place(), image).config, image)
        except (Unknown, OSError):
            argv = ("inspect", "--type", "image", "--format", image_config.TEMPLATE, image)
            return image_config.parse(self._buildah(*argv).stdout, image)

"""What `docker save` and `podman save` write: a tar of configs and of layers, each a tar of its own.

    manifest.json     [{"Config": name, "RepoTags": ["web:1", …], "Layers": [name, …]}, …]      lowest layer first
    <config>.json, blobs/sha256/<hex>
    <id>/layer.tar, <hex>.tar, blobs/sha256/<hex>; equal layers may be links to one another

Docker image specification v1.2, "Combined Image JSON + Filesystem Changeset Format". Nothing says a digest of a
layer's stored bytes, only the config has those of the tars.
"""

from __future__ import annotations

import contextlib
import json
import posixpath
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from dibo.errors import ImageError, UsageError
from dibo.images import documents
from dibo.images.image import Image, Layer
from dibo.images.manifest import digest_of
from dibo.images.platforms import preference
from dibo.images.reference import parse_image_name
from dibo.images.sources.archive import open_archive
from dibo.images.sources.blobs import not_for
from dibo.images.sources.files import Files
from dibo.images.sources.paths import split_path
from dibo.images.sources.table import ImageRequest


@contextlib.contextmanager
def open_image(request: ImageRequest) -> Iterator[Image]:
    """An image in a tar, perhaps compressed."""
    path, image_name = split_path(request, is_image=Path.is_file)
    with open_archive(path, scratch=request.scratch) as files:
        archive = DockerArchive(files, name=request.reference, reference=image_name)
        yield archive.image(architecture=request.architecture)


class DockerArchive:
    """`reference` is a name (`web:1`), `@N` for the Nth image from 0, or empty for the only one."""

    def __init__(self, files: Files, *, name: str, reference: str) -> None:
        self._files = files
        self._name = name
        self._reference = reference

    def image(self, *, architecture: str) -> Image:
        """Raises ImageError, VerificationFailed."""
        item = self._item()
        config_name, layers = item.get("Config"), item.get("Layers")
        if not isinstance(config_name, str) or not _strings(layers):
            raise self._bad("an image without Config or Layers")
        if not layers:
            raise ImageError(f"{self._name} has no layers, so there is nothing in it")
        if len(layers) > documents.MOST_LAYERS:
            raise ImageError(f"{self._name} has {len(layers)} layers; {documents.MOST_LAYERS} are the most")
        description = f"the config of {self._name}"
        data = self._files.read(config_name)
        digest = digest_of(data)
        claimed = re.fullmatch(r"([0-9a-f]{64})(\.json)?", posixpath.basename(config_name))
        if claimed:
            documents.verify(data, f"sha256:{claimed[1]}", description=description)
        config = documents.parse_config(
            documents.parse(data, description=description), layers=len(layers), description=description
        )
        if config.platform is not None and preference(config.platform, architecture) is None:
            raise not_for(architecture, [str(config.platform)], name=self._name)
        return Image(
            name=self._name,
            digest=digest,
            architecture=config.platform.debian if config.platform else "",
            layers=tuple(
                self._layer(layer, diff_id) for layer, diff_id in zip(layers, config.diff_ids, strict=True)
            ),
            config=config.document,
        )

    def _layer(self, name: str, diff_id: str) -> Layer:
        size = self._files.size(name)
        if size is None:
            raise ImageError(
                f"the layer {self._files.describe(name)} is not there", hint="save the image again"
            )
        return Layer(open=partial(self._files.open, name), digest=None, size=size, diff_id=diff_id)

    def _item(self) -> dict[str, Any]:
        """The entry of manifest.json that is meant."""
        items = self._items()
        selector = self._reference
        if selector.startswith("@"):
            if not selector[1:].isdecimal() or int(selector[1:]) >= len(items):
                raise ImageError(f"{self._name}: there is no image {selector}", hint=self._hint(items))
            return items[int(selector[1:])]
        matches = [item for item in items if _same(selector, _tags(item))] if selector else items
        if len(matches) == 1:
            return matches[0]
        place = self._name.removesuffix(f":{selector}")
        problem = "several images" if matches else f"no image {selector}".rstrip()
        raise ImageError(f"{place} has {problem}", hint=self._hint(items))

    def _items(self) -> list[dict[str, Any]]:
        if self._files.size("manifest.json") is None:
            oci = self._files.size("index.json") is not None
            raise ImageError(
                f"{self._files.describe('manifest.json')} is not there",
                hint="it is an OCI archive: write oci-archive:FILE" if oci else "did `docker save` make it?",
            )
        data = self._files.read("manifest.json")
        try:
            items = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._bad(f"no JSON ({error})") from error
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self._bad("no list of images")
        return items

    def _bad(self, problem: str) -> ImageError:
        return ImageError(
            f"{self._files.describe('manifest.json')} has {problem}", hint="save the image again"
        )

    @staticmethod
    def _hint(items: list[dict[str, Any]]) -> str:
        lines = [f"  @{n}  {', '.join(_tags(item)) or '(no name)'}" for n, item in enumerate(items[:20])]
        return "\n".join(["write docker-archive:FILE:NAME or docker-archive:FILE:@N; it has", *lines])


def _tags(item: dict[str, Any]) -> list[str]:
    tags = item.get("RepoTags")
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _same(name: str, tags: list[str]) -> bool:
    """Whether a tag means `name`: `web` is `web:latest` and `docker.io/library/web:latest`."""
    return name in tags or _full(name) in [_full(tag) for tag in tags]


def _full(name: str) -> str:
    try:
        return str(parse_image_name(name))
    except UsageError:
        return name

"""A kit to a registry, beside those for other architectures under the same tag."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from dibo.images.image import Image, Reader
from dibo.images.manifest import OCI_INDEX, OCI_MANIFEST, digest_of
from dibo.images.reference import ImageName
from dibo.images.registry import api
from dibo.kits.layer import descriptor, with_entry
from dibo.trust.policy import Trust


def push_kit(image: Image, name: ImageName, trust: Trust) -> str:
    """Push the image of a kit, and an index with it under the tag of `name`; the digest of the index. Raises
    OutputError where something else than kits has that tag, RegistryError, Unreachable."""
    entry, manifest, config = descriptor(image)
    body = with_entry(_index(name), entry, place=str(name))
    for layer in image.layers:
        assert layer.digest is not None and layer.size is not None
        _push(name, layer.digest, layer.size, layer.open)
    _push(name, digest_of(config), len(config), lambda: _in_memory(config))
    of_one = ImageName(host=name.host, repository=name.repository, digest=str(entry["digest"]))
    api.push_manifest(of_one, manifest, OCI_MANIFEST)
    trust.sign_manifest(name, body)
    return api.push_manifest(name, body, OCI_INDEX)


def _index(name: ImageName) -> Mapping[str, Any] | None:
    """What has that tag now."""
    if api.head(name) is None:
        return None
    document = api.manifest(name)[1]
    return document if "manifests" in document else {"manifests": [document]}


def _push(
    name: ImageName, digest: str, size: int, source: Callable[[], AbstractContextManager[Reader]]
) -> None:
    if not api.exists(name, digest):
        api.push_blob(name, digest, size, source)


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[Reader]:
    yield io.BytesIO(data)

"""Images of several architectures under one name: an index (OCI image specification, image-index.md).

The image of each architecture is stored under its digest first, so an interrupted upload leaves the name as it was. An
index that is joined keeps its entries for other platforms, attestations among them. The registry has no lock for that:
of two that join at the same moment, one is lost.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dibo.errors import ImageError
from dibo.images import documents
from dibo.images.documents import Descriptor
from dibo.images.manifest import LARGEST_MANIFEST, OCI_INDEX, OCI_MANIFEST, digest_of
from dibo.images.platforms import Platform
from dibo.images.reference import ImageName
from dibo.images.registry import api
from dibo.trust.policy import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedImage:
    """An image that a registry has."""

    digest: str
    size: int
    """Of the manifest, in bytes."""
    platform: Platform


def push_index(name: ImageName, images: Sequence[PushedImage], *, join: bool, trust: Trust) -> str:
    """Put an index of `images` under `name`; its digest. With `join` it keeps what `name` has for other platforms.
    Raises RegistryError, Unreachable, ImageError, VerificationFailed, SignatureError."""
    entries = [_entry(image) for image in images]
    if join:
        entries = [*_others(name, images, trust), *entries]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    body = json.dumps(index, separators=(",", ":"), sort_keys=True).encode()
    trust.sign_manifest(name, body)
    return api.push_manifest(name, body, OCI_INDEX)


def _entry(image: PushedImage) -> dict[str, Any]:
    return {
        "mediaType": OCI_MANIFEST,
        "digest": image.digest,
        "size": image.size,
        "platform": _platform(image.platform),
    }


def _platform(platform: Platform) -> dict[str, str]:
    words = {"os": platform.os, "architecture": platform.architecture, "variant": platform.variant}
    return {key: word for key, word in words.items() if word}


def _others(name: ImageName, images: Sequence[PushedImage], trust: Trust) -> list[dict[str, Any]]:
    """The entries of what `name` means now, but for the platforms of `images`."""
    if api.head(name) is None:
        return []
    body = api.read_manifest(name)
    trust.verify(name, digest_of(body))
    document = documents.parse(body, description=str(name))
    listed = documents.index_entries(document, description=str(name))
    if listed is None:
        single = _single(name, body, document)
        return [] if _replaced(single.platform, images) else [_entry(single)]
    kept = zip(listed, document["manifests"], strict=True)
    return [entry for descriptor, entry in kept if not _replaces(descriptor, images)]


def _replaces(descriptor: Descriptor, images: Sequence[PushedImage]) -> bool:
    return descriptor.platform is not None and _replaced(descriptor.platform, images)


def _replaced(platform: Platform, images: Sequence[PushedImage]) -> bool:
    return any(
        (platform.os, *platform.normal) == (image.platform.os, *image.platform.normal) for image in images
    )


def _single(name: ImageName, body: bytes, document: documents.Document) -> PushedImage:
    """An image that has the name alone."""
    manifest = documents.parse_manifest(document, description=str(name))
    text = api.read_small(name, manifest.config.digest, limit=LARGEST_MANIFEST)
    description = f"the config of {name}"
    config = documents.parse_config(
        documents.parse(text, description=description), layers=len(manifest.layers), description=description
    )
    if config.platform is None:
        raise ImageError(
            f"{name} does not say for which architecture it is, so no index can list it",
            hint="push under another name, or without --join",
        )
    return PushedImage(digest=digest_of(body), size=len(body), platform=config.platform)

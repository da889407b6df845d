"""What describes a container image: indexes, manifests and configs, read and checked.

    index       {"manifests": [descriptor with a platform, …]}
    manifest    {"config": descriptor, "layers": [descriptor, …]}       layers from the lowest
    config      {"os", "architecture", "rootfs": {"diff_ids": [digest of each layer's tar, …]}, …}
    descriptor  {"mediaType", "digest", "size", "platform": {"os", "architecture", "variant"}, …}

OCI image specification, descriptor.md, image-index.md, manifest.md, config.md; the types of Docker (distribution,
manifest v2 schema 2) are their elder twins, field for field. All of it comes from outside and is believed only as far
as it was checked here: shapes, digests, sizes. What could be read as an index and as a manifest at once is refused
(CVE-2021-41190).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dibo.errors import ImageError, VerificationFailed
from dibo.images.manifest import DIGEST, INDEX_TYPES, LARGEST_MANIFEST, MANIFEST_TYPES
from dibo.images.platforms import Platform, preference
from dibo.units import human_size

LARGEST_DOCUMENT: Final = LARGEST_MANIFEST  # configs are held to it, too
MOST_LAYERS: Final = 1000  # overlayfs takes 500 at most, docker makes 127

CONFIG_TYPES: Final = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
_SCHEMA_1: Final = "application/vnd.docker.distribution.manifest.v1+"
_LAYER_TYPE: Final = re.compile(
    r"application/vnd\.oci\.image\.layer\.v1\.tar(\+gzip|\+zstd)?"
    r"|application/vnd\.docker\.image\.rootfs\.diff\.tar(\.gzip|\.zstd)?"
)

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Points at a blob. `size` is in bytes."""

    digest: str
    size: int
    media_type: str
    platform: Platform | None = None
    names: tuple[str, ...] = ()
    """What its annotations call it: a tag, or a whole name of an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    platform: Platform | None
    diff_ids: tuple[str, ...]
    document: Document


def verify(data: bytes, digest: str, *, description: str) -> None:
    """Raises VerificationFailed unless `data` has the digest."""
    algorithm, _, value = digest.partition(":")
    computed = hashlib.new(algorithm, data).hexdigest()
    if computed != value:
        raise VerificationFailed(
            f"{description} has the digest {algorithm}:{computed}, expected {digest}",
            hint="it is damaged or was changed; do not use it",
        )


def parse(data: bytes, *, description: str) -> dict[str, Any]:
    """The JSON object in `data`. Raises ImageError."""
    if len(data) > LARGEST_DOCUMENT:
        raise ImageError(
            f"{description} is larger than {human_size(LARGEST_DOCUMENT)}, the most that is read of one"
        )
    try:
        document = json.loads(data)
    except RecursionError:
        raise ImageError(f"{description} is nested too deep") from None
    except ValueError as error:
        raise ImageError(f"{description} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ImageError(f"{description} is not a JSON object")
    return document


def is_digest(text: object) -> bool:
    """Whether it is `sha256:` or `sha512:` and so many hexadecimal digits: safe as the name of a file."""
    return isinstance(text, str) and DIGEST.fullmatch(text) is not None


def index_entries(
    document: Document, *, media_type: str = "", description: str
) -> tuple[Descriptor, ...] | None:
    """The entries of an index, None when `document` is a manifest. `media_type` is what its descriptor says.

    Raises ImageError when it is neither, or could be both.
    """
    stated = document.get("mediaType", "")
    if stated and media_type and stated != media_type:
        raise ImageError(f"{description} says it is {stated!r}, but was announced as {media_type!r}")
    kind = stated or media_type
    if document.get("schemaVersion") == 1 or (isinstance(kind, str) and kind.startswith(_SCHEMA_1)):
        raise ImageError(
            f"{description} is in Docker's schema 1, which was given up in 2017",
            hint="pull and push it again with a docker or skopeo of today, which write schema 2",
        )
    is_index, is_manifest = "manifests" in document, "layers" in document or "config" in document
    if is_index and is_manifest:
        raise ImageError(
            f"{description} is ambiguous: it could be read as an image and as an index (CVE-2021-41190)"
        )
    known = INDEX_TYPES if is_index else MANIFEST_TYPES if is_manifest else ()
    if not known or (kind and kind not in known):
        type_note = f": it is {_short(kind)}" if kind else ""
        raise ImageError(
            f"{description} is neither an image nor an index of images{type_note}",
            hint="name a container image",
        )
    if not is_index:
        return None
    return tuple(
        parse_descriptor(manifest, description=description)
        for manifest in _list(document, "manifests", description=description)
    )


def parse_manifest(document: Document, *, description: str) -> Manifest:
    """Raises ImageError for what is no image, and for layers that cannot be had or read."""
    config = parse_descriptor(document.get("config"), description=f"the config of {description}")
    if config.media_type not in CONFIG_TYPES:
        raise ImageError(
            f"{description} is no image of a root file system: its config is {config.media_type!r}",
            hint="registries also hold charts, signatures and other artefacts; name a container image",
        )
    if config.size > LARGEST_DOCUMENT:
        raise ImageError(f"the config of {description} is larger than {human_size(LARGEST_DOCUMENT)}")
    entries = _list(document, "layers", description=description)
    if not entries:
        raise ImageError(f"{description} has no layers, so there is nothing in it")
    if len(entries) > MOST_LAYERS:
        raise ImageError(f"{description} has {len(entries)} layers; {MOST_LAYERS} are the most that are read")
    layers = tuple(
        _layer(value, description=f"layer {n} of {description}") for n, value in enumerate(entries, 1)
    )
    return Manifest(config=config, layers=layers)


def parse_config(document: Document, *, layers: int, description: str) -> Config:
    """The config of an image with so many `layers`. Raises ImageError."""
    rootfs = document.get("rootfs")
    if not isinstance(rootfs, dict):
        raise ImageError(f"{description} says nothing of a root file system")
    diff_ids = _list(rootfs, "diff_ids", description=description)
    for diff_id in diff_ids:
        if not is_digest(diff_id):
            raise ImageError(f"{description} has {diff_id!r} where the digest of a layer should be")
    if len(diff_ids) != layers:
        raise ImageError(f"{description} describes {len(diff_ids)} layers, but there are {layers}")
    platform = _platform(document, description=description)
    if platform is not None and platform.os not in ("linux", ""):
        raise ImageError(f"{description} is for {platform.os}, not for Linux")
    return Config(platform=platform, diff_ids=tuple(diff_ids), document=document)


def by_preference(entries: Sequence[Descriptor], *, architecture: str) -> tuple[Descriptor, ...]:
    """Those that may be for `architecture`: the best variant first, at the end those that do not say."""
    ranked = [
        (place, entry)
        for entry in entries
        if entry.platform is not None and (place := preference(entry.platform, architecture)) is not None
    ]
    certain = (entry for _, entry in sorted(ranked, key=lambda pair: pair[0]))
    return (*certain, *(entry for entry in entries if entry.platform is None))


def _layer(value: Any, *, description: str) -> Descriptor:
    descriptor = parse_descriptor(value, description=description)
    kind = descriptor.media_type
    if kind.endswith(("+encrypted", ".enc")):
        raise ImageError(
            f"{description} is encrypted", hint="decrypt the image first: skopeo copy --decryption-key"
        )
    if ".foreign." in kind or ".nondistributable." in kind or value.get("urls"):
        raise ImageError(
            f"{description} is foreign: it is kept elsewhere than the image",
            hint="dibo follows no links out of an image; push it again with the layer in it",
        )
    if not _LAYER_TYPE.fullmatch(kind):
        raise ImageError(f"{description} is {kind!r}, not a tar", hint="name the image of a root file system")
    return descriptor


def parse_descriptor(value: Any, *, description: str) -> Descriptor:
    """Raises ImageError for what is none."""
    if not isinstance(value, dict):
        raise ImageError(f"{description} has {_short(value)} where a descriptor should be")
    digest, size, kind = value.get("digest"), value.get("size"), value.get("mediaType")
    if not isinstance(digest, str) or not is_digest(digest):
        raise ImageError(f"{description} has {_short(digest)} where a sha256 digest should be")
    if type(size) is not int or not 0 <= size < 1 << 63:
        raise ImageError(f"{description} has {_short(size)} where a size should be")
    if not isinstance(kind, str):
        raise ImageError(f"{description} has {_short(kind)} where a media type should be")
    given = value.get("annotations")
    annotations = given if isinstance(given, dict) else {}
    platform = value.get("platform")
    return Descriptor(
        digest=digest,
        size=size,
        media_type=kind,
        platform=_platform(platform, description=description) if isinstance(platform, dict) else None,
        names=tuple(
            annotations[key]
            for key in ("org.opencontainers.image.ref.name", "io.containerd.image.name")
            if isinstance(annotations.get(key), str)
        ),
    )


def _platform(value: Mapping[str, Any], *, description: str) -> Platform | None:
    words = [value.get(key) or "" for key in ("os", "architecture", "variant")]
    if not all(isinstance(word, str) for word in words):
        raise ImageError(f"{description} has {_short(words)} where a platform should be")
    os, architecture, variant = words
    if not architecture:
        return None
    return Platform(os=os or "linux", architecture=architecture, variant=variant)


def _list(document: Document, key: str, *, description: str) -> list[Any]:
    values = document.get(key)
    if not isinstance(values, list):
        raise ImageError(f"{description} has no list of {key}")
    return values


def _short(value: Any) -> str:
    """A value for a message, which an attacker may have made long."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"

"""From descriptors to an image: indexes followed to the manifest for an architecture, that one read, its layers found.

What is common to registries, layouts, archives of layouts and skopeo's directories; they differ in how a blob is had
(`Blobs`). Documents are checked against their digests here; the bytes of layers are checked by their reader
(dibo.images.layers).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Final, Protocol

from dibo.errors import ImageError
from dibo.images import documents
from dibo.images.documents import Config, Descriptor, Document, Manifest
from dibo.images.image import Image, Layer, Reader
from dibo.images.platforms import preference
from dibo.images.sources.table import Verify

_MOST_DOCUMENTS: Final = 64  # read to find one image: indexes can be nested, and wide
_DEEPEST: Final = 4


class Blobs(Protocol):
    """Where blobs are. Raises ImageError, RegistryError, Unreachable."""

    def read(self, descriptor: Descriptor) -> bytes:
        """All of a small one, not checked yet."""

    def open(self, descriptor: Descriptor) -> AbstractContextManager[Reader]:
        """A layer, not checked yet."""

    def require(self, descriptor: Descriptor) -> None:
        """Raises ImageError when it can be seen at once that the blob is not there, or has another size."""


def find_image(
    blobs: Blobs,
    entries: Sequence[Descriptor],
    *,
    architecture: str,
    name: str,
    verify: Verify | None = None,
) -> Image:
    """The image for `architecture` (Debian's word) among `entries` and what they lead to. `name` is for messages.

    Raises ImageError, VerificationFailed, and what `blobs` and `verify` raise.
    """
    search = _Search(blobs, architecture=architecture, name=name, verify=verify)
    descriptor, document = search.manifest(entries)
    parsed, config = search.parsed(document)
    platform = descriptor.platform or config.platform
    if platform is not None and preference(platform, architecture) is None:
        raise not_for(architecture, [str(platform)], name=name)
    for layer in parsed.layers:
        blobs.require(layer)
    return Image(
        name=name,
        digest=parsed.config.digest,
        architecture=platform.debian if platform else "",
        layers=tuple(
            Layer(
                open=partial(blobs.open, layer),
                digest=layer.digest,
                size=layer.size,
                diff_id=diff_id,
                media_type=layer.media_type,
            )
            for layer, diff_id in zip(parsed.layers, config.diff_ids, strict=True)
        ),
        config=config.document,
        manifest_digest=descriptor.digest,
    )


def find_manifest(
    blobs: Blobs,
    entries: Sequence[Descriptor],
    *,
    architecture: str,
    name: str,
    verify: Verify | None = None,
) -> Descriptor:
    """The descriptor of the manifest for `architecture`, for bases. Raises as find_image does."""
    return _Search(blobs, architecture=architecture, name=name, verify=verify).manifest(entries)[0]


class _Search:
    """One walk through indexes. Documents are read once."""

    def __init__(self, blobs: Blobs, *, architecture: str, name: str, verify: Verify | None = None) -> None:
        self._blobs = blobs
        self._verify = verify
        self._architecture = architecture
        self._name = name
        self._read: dict[str, Document] = {}
        self._seen: set[str] = set()
        """What was met that is for something else."""

    def manifest(self, entries: Sequence[Descriptor]) -> tuple[Descriptor, Document]:
        """The best one for the architecture, and what points at it."""
        best = next(self._manifests(entries, depth=0), None)
        if best is None:
            raise not_for(self._architecture, sorted(self._seen), name=self._name)
        return best

    def parsed(self, document: Document) -> tuple[Manifest, Config]:
        """A manifest and its config."""
        description = f"the config of {self._name}"
        manifest = documents.parse_manifest(document, description=self._name)
        config = self._document(manifest.config, description=description)
        return manifest, documents.parse_config(config, layers=len(manifest.layers), description=description)

    def _manifests(
        self, entries: Sequence[Descriptor], *, depth: int
    ) -> Iterator[tuple[Descriptor, Document]]:
        if depth > _DEEPEST:
            raise ImageError(f"{self._name} is an index in an index, {_DEEPEST} deep and more")
        self._seen |= {str(listed.platform) for listed in entries if listed.platform} - {"unknown/unknown"}
        for entry in documents.by_preference(entries, architecture=self._architecture):
            document = self._document(entry, description=f"the manifest of {self._name}")
            description = f"{self._name} ({entry.digest[:19]}…)" if depth else self._name
            inner = documents.index_entries(document, media_type=entry.media_type, description=description)
            if inner is not None:
                yield from self._manifests(inner, depth=depth + 1)
                continue
            if self._verify is not None:
                self._verify(entry.digest)
            if entry.platform is not None or self._fits(document):
                yield entry, document

    def _fits(self, document: Document) -> bool:
        """Whether an image of which only its config can say so is for the architecture, or for none."""
        platform = self.parsed(document)[1].platform
        if platform is None:
            return True
        self._seen.add(str(platform))
        return preference(platform, self._architecture) is not None

    def _document(self, descriptor: Descriptor, *, description: str) -> Document:
        """A checked JSON object."""
        document = self._read.get(descriptor.digest)
        if document is None:
            if len(self._read) >= _MOST_DOCUMENTS:
                raise ImageError(
                    f"{self._name} has too many images to look at: none of the first says that it is for "
                    f"{self._architecture}"
                )
            document = self._read[descriptor.digest] = _checked(
                self._blobs, descriptor, description=description
            )
        return document


def _checked(blobs: Blobs, descriptor: Descriptor, *, description: str) -> Document:
    if descriptor.size > documents.LARGEST_DOCUMENT:
        raise ImageError(f"{description} claims {descriptor.size} bytes; no description has so many")
    data = blobs.read(descriptor)
    documents.verify(data, descriptor.digest, description=description)
    if len(data) != descriptor.size:
        raise ImageError(f"{description} has {len(data)} bytes, but was announced with {descriptor.size}")
    return documents.parse(data, description=description)


def not_for(architecture: str, have: Sequence[str], *, name: str) -> ImageError:
    """`have` are platforms: those of Linux are what can be asked for instead."""
    choices = [platform.removeprefix("linux/") for platform in have if platform.startswith("linux/")]
    way = f"choose another architecture with -a, such as {choices[0]}, or" if choices else "choose"
    return ImageError(
        f"{name} has no image for {architecture}; it has {', '.join(have) or 'none at all'}",
        hint=f"{way} another image",
    )

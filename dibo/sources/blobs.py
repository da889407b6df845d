"""From descriptors to an image: indexes followed to the manifest for an architecture, that one read, its layers found.

What is common to registries, layouts, archives of layouts and skopeo's directories; they differ in how a blob is had
(`Blobs`). Documents are checked against their digests here; the bytes of layers are not, whoever reads them does
that (dibo.layers).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Final, Protocol

from dibo.errors import ImageError
from dibo.image import Image, Layer, Reader
from dibo.sources import documents
from dibo.sources.documents import Descriptor, Document

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


def find_image(blobs: Blobs, entries: Sequence[Descriptor], *, architecture: str, name: str) -> Image:
    """The image for `architecture` (Debian's word) among `entries` and what they lead to. `name` is for messages.

    Raises ImageError, VerificationFailed, and what `blobs` raises.
    """
    descriptor, document = find_manifest(blobs, entries, architecture=architecture, name=name)
    return read_image(blobs, descriptor, document, architecture=architecture, name=name)


def find_manifest(
    blobs: Blobs, entries: Sequence[Descriptor], *, architecture: str, name: str
) -> tuple[Descriptor, Document]:
    """The manifest for `architecture`, and what points at it."""
    search = _Search(blobs, architecture=architecture, name=name)
    found = next(search.manifests(entries, depth=0), None)
    if found is None:
        raise not_for(architecture, sorted(search.seen), name=name)
    return found


def read_image(
    blobs: Blobs, descriptor: Descriptor, document: Document, *, architecture: str, name: str
) -> Image:
    """The image of one manifest, which is in `document`. Raises as find_image does."""
    parsed = documents.parse_manifest(document, what=name)
    what = f"the config of {name}"
    config = documents.parse_config(
        read_document(blobs, parsed.config, what=what), layers=len(parsed.layers), what=what
    )
    platform = descriptor.platform or config.platform
    if platform is not None and platform.debian != architecture:
        raise not_for(architecture, [str(platform)], name=name)
    for layer in parsed.layers:
        blobs.require(layer)
    return Image(
        name=name,
        digest=descriptor.digest,
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
    )


def read_document(blobs: Blobs, descriptor: Descriptor, *, what: str) -> Document:
    """A checked JSON object. Raises ImageError, VerificationFailed."""
    if descriptor.size > documents.LARGEST_DOCUMENT:
        raise ImageError(f"{what} claims {descriptor.size} bytes; no description has so many")
    data = blobs.read(descriptor)
    documents.verify(data, descriptor.digest, what=what)
    if len(data) != descriptor.size:
        raise ImageError(f"{what} has {len(data)} bytes, but was announced with {descriptor.size}")
    return documents.parse(data, what=what)


class _Search:
    """One walk through indexes. `seen` is what was met that is for something else."""

    def __init__(self, blobs: Blobs, *, architecture: str, name: str) -> None:
        self._blobs = blobs
        self._architecture = architecture
        self._name = name
        self._left = _MOST_DOCUMENTS
        self.seen: set[str] = set()

    def manifests(
        self, entries: Sequence[Descriptor], *, depth: int
    ) -> Iterator[tuple[Descriptor, Document]]:
        """Manifests that may be for the architecture, the best first."""
        if depth > _DEEPEST:
            raise ImageError(f"{self._name} is an index in an index, {_DEEPEST} deep and more")
        self.seen |= {str(each.platform) for each in entries if each.platform} - {"unknown/unknown"}
        for entry in documents.by_preference(entries, architecture=self._architecture):
            document = self._document(entry)
            what = f"{self._name} ({entry.digest[:19]}…)" if depth else self._name
            inner = documents.index_entries(document, media_type=entry.media_type, what=what)
            if inner is not None:
                yield from self.manifests(inner, depth=depth + 1)
            elif entry.platform is not None or self._fits(document):
                yield entry, document

    def _document(self, entry: Descriptor) -> Document:
        self._left -= 1
        if self._left < 0:
            raise ImageError(
                f"{self._name} has too many images to look at: none of the first {_MOST_DOCUMENTS} says that it is "
                f"for {self._architecture}"
            )
        return read_document(self._blobs, entry, what=f"the manifest of {self._name}")

    def _fits(self, document: Document) -> bool:
        """Whether an image of which only its config can say so is for the architecture, or for none."""
        parsed = documents.parse_manifest(document, what=self._name)
        config = read_document(self._blobs, parsed.config, what=f"the config of {self._name}")
        found = documents.parse_config(config, layers=len(parsed.layers), what=f"the config of {self._name}")
        if found.platform is None:
            return True
        self.seen.add(str(found.platform))
        return found.platform.debian == self._architecture


def not_for(architecture: str, have: Sequence[str], *, name: str) -> ImageError:
    return ImageError(
        f"{name} has no image for {architecture}; it has {', '.join(have) or 'none at all'}",
        hint="choose another architecture with -a, or another image",
    )

"""OCI layouts: a directory, or a tar of one.

    oci-layout            {"imageLayoutVersion": "1.0.0"}
    index.json            an index; an entry's annotation org.opencontainers.image.ref.name is its tag
    blobs/sha256/<hex>

OCI image specification, image-layout.md. `docker save` of docker 25 and newer writes such a tar as well; there the
whole name of the image is in the annotation io.containerd.image.name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from dibo.errors import ImageError
from dibo.images import documents
from dibo.images.documents import Descriptor
from dibo.images.image import Image, Reader
from dibo.images.sources.archive import open_archive
from dibo.images.sources.blobs import find_image, find_manifest
from dibo.images.sources.files import DirectoryFiles, Files, not_there
from dibo.images.sources.paths import split_path
from dibo.images.sources.table import ImageRequest

_HINT: Final = "is it an OCI layout?"


@contextlib.contextmanager
def open_directory(request: ImageRequest) -> Iterator[Image]:
    """An image in a directory."""
    path, tag = split_path(request, is_image=lambda path: (path / "index.json").is_file())
    images = LayoutImages(DirectoryFiles(path), name=request.reference, reference=tag)
    yield images.image(architecture=request.architecture)


@contextlib.contextmanager
def open_tar(request: ImageRequest) -> Iterator[Image]:
    """An image in a tar, perhaps compressed."""
    path, tag = split_path(request, is_image=Path.is_file)
    with open_archive(path, scratch=request.scratch) as files:
        images = LayoutImages(files, name=request.reference, reference=tag)
        yield images.image(architecture=request.architecture)


class LayoutImages:
    """`name` is what the user wrote, for messages; `reference` a tag, `@sha256:…`, or empty for the only image."""

    def __init__(self, files: Files, *, name: str, reference: str) -> None:
        self._files = files
        self._name = name
        self._reference = reference

    def image(self, *, architecture: str) -> Image:
        """Raises ImageError, VerificationFailed."""
        return find_image(self, self._entries(), architecture=architecture, name=self._name)

    def digest(self, *, architecture: str) -> str:
        """The digest of the image's manifest, for bases. Raises as `image` does."""
        return find_manifest(self, self._entries(), architecture=architecture, name=self._name).digest

    def read(self, descriptor: Descriptor) -> bytes:
        return self._files.read(_path(descriptor))

    def open(self, descriptor: Descriptor) -> AbstractContextManager[Reader]:
        return self._files.open(_path(descriptor))

    def require(self, descriptor: Descriptor) -> None:
        require_size(self._files, _path(descriptor), descriptor)

    def _entries(self) -> list[Descriptor]:
        """The one entry of index.json that is meant, or those that are one image for several platforms."""
        if self._files.size("index.json") is None:
            raise not_there(self._files, "index.json", hint=_HINT)
        description = self._files.describe("index.json")
        index = documents.parse(self._files.read("index.json"), description=description)
        entries = documents.index_entries(index, description=description)
        if entries is None:
            raise ImageError(f"{description} is the manifest of an image, not an index", hint=_HINT)
        selector = self._reference
        if selector.startswith("@"):
            matches = [entry for entry in entries if entry.digest == selector[1:]] or self._unlisted(
                selector[1:]
            )
        elif selector:
            matches = [entry for entry in entries if selector in entry.names]
        else:
            matches = list(entries)
        if len({entry.digest for entry in matches}) > 1:
            matches = [entry for entry in matches if self._is_image(entry)]
        if len({entry.digest for entry in matches}) == 1:
            return matches[:1]
        if matches and len({entry.platform for entry in matches} - {None}) == len(matches):
            return matches
        raise self._unclear(entries, matches)

    def _is_image(self, entry: Descriptor) -> bool:
        """Whether it is an image or an index of images, and no signature, chart or other artefact beside them. What
        cannot be read counts: reading it later says why."""
        try:
            document = documents.parse(self.read(entry), description=entry.digest)
            if (
                documents.index_entries(document, media_type=entry.media_type, description=entry.digest)
                is not None
            ):
                return "subject" not in document
        except ImageError:
            return True
        config = document.get("config")
        return not isinstance(config, dict) or config.get("mediaType") in documents.CONFIG_TYPES

    def _unclear(self, entries: Sequence[Descriptor], matches: Sequence[Descriptor]) -> ImageError:
        """The error where `found`, of all `entries`, is not one image."""
        selector = self._reference
        source = self._name.removesuffix(f":{selector}").removesuffix(selector)
        problem = "several images" if matches else f"no image {selector}".rstrip()
        if matches and selector:
            problem += f" of the name {selector}"
        images = matches or entries
        tags = sorted({name for entry in images for name in entry.names})
        ways = []
        if tags and not (matches and selector):
            ways.append(f"write {source}:TAG; tags are {', '.join(tags[:20])}")
        if images:
            ways.append(f"write {source}@DIGEST; digests are")
            ways += [f"  {entry.digest} {' '.join(entry.names)}".rstrip() for entry in images[:20]]
        return ImageError(f"{source} has {problem}", hint="\n".join(ways) or _HINT)

    def _unlisted(self, digest: str) -> list[Descriptor]:
        """A manifest that index.json does not name, such as one of an inner index."""
        description = f"{digest} in {self._name}"
        if not documents.is_digest(digest):
            raise ImageError(
                f"{description} is not a digest", hint="write @sha256: and 64 hexadecimal digits"
            )
        path = _blob(digest)
        size = self._files.size(path)
        if size is None:
            return []
        stated = documents.parse(self._files.read(path), description=description).get("mediaType", "")
        return [Descriptor(digest=digest, size=size, media_type=stated if isinstance(stated, str) else "")]


def require_size(files: Files, path: str, descriptor: Descriptor) -> None:
    """Raises ImageError unless the file is there and as large as it was announced."""
    size = files.size(path)
    if size is None:
        raise ImageError(
            f"the layer {files.describe(path)} is not there", hint="the copy is incomplete; make it again"
        )
    if size != descriptor.size:
        raise ImageError(
            f"the layer {files.describe(path)} has {size} bytes, but was announced with {descriptor.size}",
            hint="it is damaged; make the copy again",
        )


def _path(descriptor: Descriptor) -> str:
    return _blob(descriptor.digest)


def _blob(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    return f"blobs/{algorithm}/{value}"

"""The transport `dir:` of skopeo and podman: one image as plain files.

    version                 Directory Transport Version: 1.1
    manifest.json           a manifest, or an index
    <hex>.manifest.json     each manifest of an index
    <hex>                   configs and layers

containers-transports(5). Files are named by sha256; blobs of another algorithm have its name before theirs.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

from dibo.images import documents
from dibo.images.documents import Descriptor
from dibo.images.image import Image, Reader
from dibo.images.sources.blobs import find_image
from dibo.images.sources.files import DirectoryFiles, Files, not_there
from dibo.images.sources.layout import require_size
from dibo.images.sources.paths import whole_path
from dibo.images.sources.table import ImageRequest


@contextlib.contextmanager
def open_image(request: ImageRequest) -> Iterator[Image]:
    """The image in a directory."""
    files = DirectoryFiles(whole_path(request))
    yield SkopeoDirectory(files, name=request.reference).image(architecture=request.architecture)


class SkopeoDirectory:
    def __init__(self, files: Files, *, name: str) -> None:
        self._files = files
        self._name = name

    def image(self, *, architecture: str) -> Image:
        """Raises ImageError, VerificationFailed."""
        description = self._files.describe("manifest.json")
        if self._files.size("manifest.json") is None:
            raise not_there(self._files, "manifest.json", hint="is it a copy that skopeo made with dir:?")
        data = self._files.read("manifest.json")
        kind = documents.parse(data, description=description).get("mediaType", "")
        top = Descriptor(
            digest=f"sha256:{hashlib.sha256(data).hexdigest()}",
            size=len(data),
            media_type=kind if isinstance(kind, str) else "",
        )
        return find_image(_Blobs(self._files, top), [top], architecture=architecture, name=self._name)


class _Blobs:
    def __init__(self, files: Files, top: Descriptor) -> None:
        self._files = files
        self._top = top

    def read(self, descriptor: Descriptor) -> bytes:
        if descriptor.digest == self._top.digest:
            return self._files.read("manifest.json")
        listed = f"{_name(descriptor)}.manifest.json"
        return self._files.read(listed if self._files.size(listed) is not None else _name(descriptor))

    def open(self, descriptor: Descriptor) -> AbstractContextManager[Reader]:
        return self._files.open(_name(descriptor))

    def require(self, descriptor: Descriptor) -> None:
        require_size(self._files, _name(descriptor), descriptor)


def _name(descriptor: Descriptor) -> str:
    algorithm, _, value = descriptor.digest.partition(":")
    return value if algorithm == "sha256" else f"{algorithm}-{value}"

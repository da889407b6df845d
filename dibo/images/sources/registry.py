"""Images in registries; how these are asked is dibo.images.registry.api."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

from dibo.errors import ImageError, RegistryError, SignatureError, Unreachable
from dibo.images import documents
from dibo.images.documents import CONFIG_TYPES, Descriptor
from dibo.images.image import Image, Reader
from dibo.images.manifest import digest_of
from dibo.images.reference import ImageName, parse_image_name
from dibo.images.registry import api
from dibo.images.sources.blobs import find_image, find_manifest
from dibo.images.sources.table import ImageRequest, Verify

_T = TypeVar("_T")


@contextlib.contextmanager
def open_image(request: ImageRequest) -> Iterator[Image]:
    """The image in its registry. Raises as `registry_image` does."""
    yield registry_image(
        request.name,
        reference=request.reference,
        architecture=request.architecture,
        verify=request.verify,
    )


def registry_image(text: str, *, reference: str, architecture: str, verify: Verify | None = None) -> Image:
    """The image that `text` names; `reference` is what the user wrote. `verify` must let pass the image, or the index
    that it is found in: it is asked before anything of them is read.

    Raises UsageError, ImageError, VerificationFailed, RegistryError, Unreachable, and what `verify` raises.
    """
    name = parse_image_name(text)
    try:
        blobs = _opened(name, reference)
    except (RegistryError, Unreachable) as error:
        if name.host == "localhost":  # where buildah says images are that were never pushed
            error.hint = f"if it is in the store of buildah: containers-storage:{text}\n{error.hint}"
        raise
    return _verified(
        blobs.top.digest,
        verify,
        lambda verify: find_image(
            blobs, [blobs.top], architecture=architecture, name=reference, verify=verify
        ),
    )


def resolve(name: ImageName, *, architecture: str, verify: Verify | None = None) -> str:
    """The digest of the manifest that `name` means for `architecture`: `sha256:…`. `verify`, and what is raised: as of
    `registry_image`."""
    blobs = _opened(name, str(name))
    return _verified(
        blobs.top.digest,
        verify,
        lambda verify: find_manifest(
            blobs, [blobs.top], architecture=architecture, name=str(name), verify=verify
        ),
    ).digest


def _verified(top: str, verify: Verify | None, find: Callable[[Verify | None], _T]) -> _T:
    """What `find` returns, once `verify` let pass `top`; else what it returns of an image that is signed itself, in an
    index that is not."""
    if verify is None:
        return find(None)
    try:
        verify(top)
    except SignatureError as error:
        unsigned = error
    else:
        return find(None)

    def verify_another(digest: str) -> None:
        if digest == top:
            raise unsigned
        verify(digest)

    try:
        return find(verify_another)
    except ImageError as error:  # in what nobody signed
        raise unsigned from error


def _opened(name: ImageName, reference: str) -> _Blobs:
    body = api.read_manifest(name)
    if name.digest is not None:
        documents.verify(body, name.digest, description=f"what {name.host} sent for {reference}")
    top = Descriptor(digest=name.digest or digest_of(body), size=len(body), media_type="")
    return _Blobs(name, top, body)


class _Blobs:
    """A repository. `body` is the manifest or index that was named, fetched already."""

    def __init__(self, name: ImageName, top: Descriptor, body: bytes) -> None:
        self._name = name
        self.top = top
        self._body = body

    def read(self, descriptor: Descriptor) -> bytes:
        if descriptor == self.top:
            return self._body
        if descriptor.media_type in CONFIG_TYPES:
            return api.read_small(self._name, descriptor.digest, limit=descriptor.size)
        return api.read_manifest(self._name.at(descriptor.digest))

    def open(self, descriptor: Descriptor) -> AbstractContextManager[Reader]:
        return api.open_blob(self._name, descriptor.digest, descriptor.size)

    def require(self, descriptor: Descriptor) -> None:
        """To ask for each layer would cost as many round trips; it is seen when they are read, from the highest."""

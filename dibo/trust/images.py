"""Signatures of images that are found through an index."""

from __future__ import annotations

from dibo.errors import SignatureError
from dibo.images.manifest import digest_of
from dibo.images.reference import ImageName
from dibo.images.registry import api
from dibo.images.sources.registry import resolve
from dibo.trust.policy import Trust


def verify_image(trust: Trust, name: ImageName, digest: str, *, architecture: str) -> None:
    """Raise SignatureError unless the image with `digest`, which `name` means for `architecture`, is signed: itself, or
    the index that it was found in. Raises RegistryError, Unreachable, too."""
    try:
        trust.verify(name, digest)
    except SignatureError:
        top = name.digest or digest_of(api.read_manifest(name))
        if top == digest:
            raise
        trust.verify(name, top)
        if resolve(name.at(top), architecture=architecture) != digest:
            raise

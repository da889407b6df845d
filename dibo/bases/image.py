"""Bases that are container images: in a registry, or in an OCI layout on disk.

Both are named by the digest of the manifest for the architecture, so a tag that moves is another base.
Fetching and checking of layers is the engine's.

An OCI layout (OCI image specification, image-layout.md) is a directory:

    oci-layout            {"imageLayoutVersion": "1.0.0"}
    index.json            manifests, each with the annotation org.opencontainers.image.ref.name: its tag
    blobs/sha256/<hex>
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from dibo import registry
from dibo.base import Ingredients, OciImage
from dibo.bases.settings import BaseSettings
from dibo.errors import BaseError, RegistryError, Unreachable, UsageError, VerificationFailed
from dibo.names import ImageName, parse_image_name

_TAG: Final = "org.opencontainers.image.ref.name"
_LARGEST: Final = registry.LARGEST_MANIFEST


class RegistryImage:
    """An image in a registry."""

    def __init__(self, reference: str, *, settings: BaseSettings) -> None:
        self._image = parse_image_name(reference)
        self._settings = settings
        self._digest = self._image.digest

    @property
    def name(self) -> str:
        return str(self._image)

    @property
    def architecture(self) -> str:
        return self._settings.architecture

    def ingredients(self) -> Ingredients:
        return (("kind", "image"), ("digest", self._resolved().digest or ""))

    def source(self) -> OciImage:
        return OciImage(
            reference=f"docker://{self._resolved()}", plain_http=registry.on_loopback(self._image.host)
        )

    def _resolved(self) -> ImageName:
        if self._digest is None:
            if self._settings.offline:
                raise Unreachable(
                    f"what {self._image} means now only its registry knows, and dibo is told to stay offline",
                    hint="name the image by its digest: …@sha256:…",
                )
            self._digest = registry.resolve(self._image, architecture=self.architecture)
        return self._image.at(self._digest)


class OciLayout:
    """An image in a directory: `oci:DIR[:TAG]`."""

    def __init__(self, spec: str, *, settings: BaseSettings) -> None:
        directory, _, tag = spec.removeprefix("oci:").partition(":")
        self._directory = Path(directory).absolute()
        self._tag = tag
        self._settings = settings
        if not directory or ":" in str(self._directory):
            raise UsageError(
                f"{spec!r} names no directory",
                hint="write oci:DIR or oci:DIR:TAG; DIR cannot have a colon in it",
            )

    @property
    def name(self) -> str:
        return f"oci:{self._directory.name}" + (f":{self._tag}" if self._tag else "")

    @property
    def architecture(self) -> str:
        return self._settings.architecture

    def ingredients(self) -> Ingredients:
        digest = str(self._entry().get("digest", ""))
        manifest = self._blob(digest)
        what = f"the image in {self._directory}"
        return (
            ("kind", "image"),
            ("digest", registry.pick(manifest, digest, architecture=self.architecture, what=what)),
        )

    def source(self) -> OciImage:
        self.ingredients()
        tag = f":{self._tag}" if self._tag else ""
        return OciImage(reference=f"oci:{self._directory}{tag}")

    def _entry(self) -> dict[str, Any]:
        """The one entry of index.json that is meant."""
        entries = _json(self._directory / "index.json").get("manifests")
        found = [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
        tags = sorted({str(each.get("annotations", {}).get(_TAG, "")) for each in found} - {""})
        if self._tag:
            found = [each for each in found if each.get("annotations", {}).get(_TAG) == self._tag]
        if len(found) == 1:
            return found[0]
        problem = "several images" if found else f"no image {self._tag}".rstrip()
        raise BaseError(
            f"{self._directory} has {problem}",
            hint=f"write oci:{self._directory}:TAG; tags are {', '.join(tags)}"
            if tags
            else "is it an OCI layout?",
        )

    def _blob(self, digest: str) -> dict[str, Any]:
        algorithm, _, value = digest.partition(":")
        if algorithm != "sha256" or len(value) != 64 or not value.isalnum():
            raise BaseError(f"{self._directory}/index.json has {digest!r} where a sha256 should be")
        path = self._directory / "blobs" / algorithm / value
        return _json(path, sha256=value)


def _json(path: Path, *, sha256: str | None = None) -> dict[str, Any]:
    """A JSON object from a file of at most _LARGEST bytes. Raises BaseError, VerificationFailed."""
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        raise BaseError(f"cannot read {path}: {error.strerror}", hint="is it an OCI layout?") from error
    if sha256 is not None and hashlib.sha256(text).hexdigest() != sha256:
        raise VerificationFailed(
            f"{path} is not what its name says", hint="the layout is damaged; make it again"
        )
    try:
        found = json.loads(text)
    except ValueError as error:
        raise BaseError(f"{path} is not JSON: {error}", hint="is it an OCI layout?") from error
    if not isinstance(found, dict):
        raise RegistryError(f"{path} is not a JSON object", hint="is it an OCI layout?")
    return found

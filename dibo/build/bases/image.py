"""Bases that are container images: in a registry, or in an OCI layout on disk.

Both are named by the digest of the manifest for the architecture, so a tag that moves is another base.
Fetching and checking of layers is the engine's. Where a policy is named, nothing of an image in a registry is read
before its signature.
"""

from __future__ import annotations

from pathlib import Path

from dibo.build.bases.root_base import RootBase
from dibo.build.bases.settings import BaseSettings
from dibo.errors import Unreachable, UsageError
from dibo.images.reference import ImageName, parse_image_name
from dibo.images.sources.files import DirectoryFiles
from dibo.images.sources.layout import LayoutImages
from dibo.images.sources.registry import resolve
from dibo.plan.base import Ingredients, OciImage
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from dibo.trust.images import verify_image
from dibo.trust.policy import Trust, read_policy


class RegistryImage(RootBase):
    """An image in a registry."""

    def __init__(
        self,
        reference: str,
        *,
        settings: BaseSettings,
        workspace: Workspace | None = None,
        report: Report | None = None,
    ) -> None:
        self._image = parse_image_name(reference)
        super().__init__(settings=settings, workspace=workspace, report=report or Report())
        self._located: ImageName | None = None

    @property
    def name(self) -> str:
        return str(self._image)

    def ingredients(self) -> Ingredients:
        return (("kind", "image"), ("digest", self.located().digest or ""))

    def source(self) -> OciImage:
        from dibo.images.registry.client import (
            speaks_plain_http,  # what has asked the registry has imported it
        )

        plain = speaks_plain_http(self._image)
        return OciImage(reference=f"docker://{self.located()}", plain_http=plain)

    def located(self) -> ImageName:
        """The image, by its digest. Raises SignatureError where the policy does not let it be used, RegistryError,
        Unreachable, ImageError."""
        if self._located is None:
            policy = self._settings.signatures
            trust = Trust(policy=read_policy(policy)) if policy is not None else None
            if trust is not None:
                trust.require_chance(self._image)
            digest = self._image.digest
            if digest is None:
                digest = self._resolved(trust)
            elif trust is not None:
                name = self._image.tagged(self._image.tag) if self._image.tag else self._image
                verify_image(trust, name, digest, architecture=self._settings.platform)
            self._located = self._image.at(digest)
        return self._located

    def _resolved(self, trust: Trust | None) -> str:
        """The digest that the tag means now."""
        if self._settings.offline:
            raise Unreachable(
                f"what {self._image} means now only its registry knows, and dibo is told to stay offline",
                hint="name the image by its digest: …@sha256:…",
            )

        def verify(digest: str) -> None:
            if trust is not None:
                trust.verify(self._image, digest)

        return resolve(self._image, architecture=self._settings.platform, verify=verify)


class OciLayout(RootBase):
    """An image in a directory: `oci:DIR[:TAG]`."""

    def __init__(
        self,
        spec: str,
        *,
        settings: BaseSettings,
        workspace: Workspace | None = None,
        report: Report | None = None,
    ) -> None:
        directory, _, tag = spec.removeprefix("oci:").partition(":")
        self._layout = Path(directory).absolute()
        self._tag = tag
        super().__init__(settings=settings, workspace=workspace, report=report or Report())
        if not directory or ":" in str(self._layout):
            raise UsageError(
                f"{spec!r} names no directory",
                hint="write oci:DIR or oci:DIR:TAG; DIR cannot have a colon in it",
            )

    @property
    def name(self) -> str:
        return f"oci:{self._layout.name}{self._suffix}"

    def ingredients(self) -> Ingredients:
        layout = LayoutImages(
            DirectoryFiles(self._layout), name=f"oci:{self._layout}{self._suffix}", reference=self._tag
        )
        return (("kind", "image"), ("digest", layout.digest(architecture=self._settings.platform)))

    def source(self) -> OciImage:
        self.ingredients()
        return OciImage(reference=f"oci:{self._layout}{self._suffix}")

    @property
    def _suffix(self) -> str:
        return f":{self._tag}" if self._tag else ""

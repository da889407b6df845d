"""Bases that are images in registries, held to the policy."""

from __future__ import annotations

from dibo.build.bases.image import RegistryImage
from dibo.plan.base import Base
from dibo.settings.settings import Settings
from dibo.trust.images import verify_image
from dibo.trust.policy import trust_of


def verify_base(base: Base, settings: Settings) -> None:
    """Raise SignatureError where the policy does not let a base be used."""
    if isinstance(base, RegistryImage):
        located = base.located()
        verify_image(
            trust_of(settings),
            located.tagged(base.tag) if base.tag else located,
            located.digest or "",
            architecture=settings.platform,
        )

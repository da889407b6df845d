"""What a user may say about bases, as one value: from variables first, then from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.system.http import DOWNLOADS
from dibo.system.resources import expanded
from dibo.system.retry import RetryPolicy

CLOUD_IMAGES: Final = "https://cloud-images.ubuntu.com"
KEYSERVER: Final = "https://keyserver.ubuntu.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSettings:
    """`architecture` is Debian's word. `sha256` is hex, for a tarball or an address. `mirror` is one or two
    addresses of a Debian archive with a blank between: packages, security updates. `fingerprint` is that of
    the key that signs lists of Ubuntu images, in place of Ubuntu's own; `keyserver` has these keys, or is `none`.
    `signatures` is the file of the policy that
    images in registries are held to."""

    architecture: str
    variant: str = ""
    release: str | None = None
    cloud_images: str = CLOUD_IMAGES
    base_image_file: str | None = None
    mirror: str | None = None
    sha256: str | None = None
    keyring: Path | None = None
    keyserver: str = KEYSERVER
    fingerprint: str | None = None
    signatures: Path | None = None
    epoch: str = ""
    offline: bool = False
    policy: RetryPolicy = DOWNLOADS

    @property
    def platform(self) -> str:
        """Which image of several is meant: `amd64`, `amd64/v2`."""
        return f"{self.architecture}/{self.variant}" if self.variant else self.architecture


def settings_from(environment: Mapping[str, str], *, architecture: str) -> BaseSettings:
    """What the variables say; an empty variable is as good as none."""

    def setting(name: str) -> str | None:
        return environment.get(name) or None

    keyring = setting("DIBO_UBUNTU_KEYRING")
    return BaseSettings(
        architecture=architecture,
        release=setting("RELEASE"),
        cloud_images=setting("CLOUD_IMAGES") or CLOUD_IMAGES,
        base_image_file=setting("BASE_IMAGE_FILE"),
        mirror=setting("DIBO_MIRROR"),
        keyring=expanded(keyring) if keyring else None,
        keyserver=setting("DIBO_KEYSERVER") or KEYSERVER,
        fingerprint=setting("DIBO_UBUNTU_FINGERPRINT"),
    )


class ConfiguredBase:
    """What bases have in common: the architecture is that of the settings, and no program is needed."""

    def __init__(self, settings: BaseSettings) -> None:
        self._settings = settings

    @property
    def architecture(self) -> str:
        return self._settings.architecture

    @property
    def tools(self) -> tuple[str, ...]:
        return ()

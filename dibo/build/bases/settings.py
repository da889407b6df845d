"""What a user may say about bases, as one value: from variables first, then from the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.errors import BaseError
from dibo.plan.base import ResolutionStore
from dibo.plan.input_files import InputStore
from dibo.plan.packages import NOTHING, ArchivePackage, PackageNames, Packages, Resolution
from dibo.settings.settings import Settings
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
    `signatures` is the file of the policy that images in registries are held to. `archive_keyring` has the keys of a
    Debian archive, in place of Debian's own. With `resolves`, packages are chosen before a build; with
    `lock`, a file that says them. `network` is that of steps; `container_build` has variables of the element
    containerfile, with their values."""

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
    archive_keyring: Path | None = None
    epoch: str = ""
    resolves: bool = False
    lock: Path | None = None
    network: str = "host"
    container_build: tuple[tuple[str, str], ...] = ()
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


def base_settings(settings: Settings) -> BaseSettings:
    """What the settings of a command say about bases."""
    return BaseSettings(
        architecture=settings.architecture,
        variant=settings.variant,
        release=settings.release,
        cloud_images=settings.cloud_images or CLOUD_IMAGES,
        base_image_file=settings.base_image_file,
        mirror=settings.mirror,
        sha256=settings.sha256,
        keyring=settings.keyring,
        keyserver=settings.keyserver or KEYSERVER,
        fingerprint=settings.fingerprint,
        signatures=settings.policy,
        archive_keyring=settings.archive_keyring,
        epoch=settings.epoch,
        resolves=settings.lock is not None or not settings.epoch_named,
        lock=settings.lock,
        network=settings.network,
        container_build=settings.container_build,
        offline=settings.offline,
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

    def package_names(self, _store: ResolutionStore, *, listed: bool) -> PackageNames:  # noqa: ARG002
        return PackageNames(obstacle="the base has no archive that dibo knows")

    def resolve(self, _lists: Sequence[tuple[str, ...]], _store: ResolutionStore) -> Resolution:
        return NOTHING

    def snapshots(self) -> tuple[str, ...]:
        return ()

    def adopt(self, resolution: Resolution) -> None:
        pass

    def read_inputs_from(self, _store: InputStore) -> None:
        pass

    def news_of(self, packages: Sequence[tuple[ArchivePackage, str]]) -> tuple[str, ...]:
        return ("",) * len(packages)

    def find_package(self, _package: ArchivePackage) -> Path | None:
        return None

    def write_archive(self, _packages: Packages, _target: Path) -> int:
        raise BaseError("packages are not chosen before a build on this base")

    def fetch_ahead(self, _package: ArchivePackage) -> None:
        pass

    def write_lists(self, _target: Path) -> None:
        pass

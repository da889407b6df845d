"""What a bill of materials lists, whatever format it is written in."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from dibo.contents.inventory import NO_LAYER, InstalledPackage, Inventory, LayerRecord, shown

_NAMESPACE: Final = uuid.UUID("7a1f3c52-0d0f-5f5e-9b53-0b4a3b8f6d11")
"""Of identities of bills; it means nothing else."""
_DATABASES: Final = ("var/lib/dpkg/info/{name}.list", "var/lib/dpkg/info/{name}:{architecture}.list")
_PURL_TYPES: Final = {"dpkg": "deb", "apk": "apk"}
_LATEST: Final = 253_402_300_799  # the end of the year 9999

License = Callable[[InstalledPackage], str | None]
"""What a package declares, as an expression of SPDX; None where it declares nothing that can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What brought something into the image; texts are empty where they are not known."""

    layer: str = ""
    """The diff_id of the layer."""
    key: str = ""
    """dibo's key of it."""
    flavour: str = ""
    step: str = ""
    """The step of dibo that made it, or the line of the image's history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPackage:
    package: InstalledPackage
    purl: str
    """Package URL (https://github.com/package-url/purl-spec)."""
    license: str | None
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class LooseFile:
    """A file that belongs to no package. `sha256` is hexadecimal."""

    path: str
    size: int
    sha256: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    name: str
    is_container: bool
    digest: str
    """Of the config of a container image; empty for others."""
    architecture: str
    system: Mapping[str, str]
    """os-release(5)."""
    packages: tuple[ListedPackage, ...]
    files: tuple[LooseFile, ...]
    time: datetime
    """Of the image."""
    notes: tuple[str, ...]

    @property
    def identity(self) -> uuid.UUID:
        """The same for the same content."""
        texts = [self.name, self.digest, self.architecture]
        texts += [f"{entry.purl} {entry.origin.layer}" for entry in self.packages]
        texts += [f"{entry.path} {entry.sha256}" for entry in self.files]
        return uuid.uuid5(_NAMESPACE, hashlib.sha256("\0".join(texts).encode(errors="replace")).hexdigest())


def loose_paths(inventory: Inventory) -> tuple[bytes, ...]:
    """Files that belong to no package."""
    return tuple(
        path
        for path, record in inventory.files.items()
        if record.kind == "file" and not record.package and not record.first_name
    )


def bill_of(inventory: Inventory, digests: Mapping[bytes, str], *, name: str, license_of: License) -> Bill:
    """`digests` are the sha256 of loose files: those without one are left out."""
    packages = [
        ListedPackage(
            package=package,
            purl=package_url(package, inventory.os_release),
            license=license_of(package),
            origin=_origin_of_package(inventory, package),
        )
        for package in inventory.packages or ()
    ]
    files = [
        LooseFile(
            path=shown(path),
            size=inventory.files[path].size,
            sha256=digests[path],
            origin=_origin(inventory, inventory.files[path].layer),
        )
        for path in loose_paths(inventory)
        if path in digests
    ]
    return Bill(
        name=name,
        is_container=inventory.form == "image",
        digest=inventory.digest,
        architecture=inventory.architecture,
        system=inventory.os_release,
        packages=tuple(sorted(packages, key=lambda entry: entry.purl)),
        files=tuple(sorted(files, key=lambda entry: entry.path)),
        time=_time(inventory),
        notes=_notes(inventory),
    )


def package_url(package: InstalledPackage, system: Mapping[str, str]) -> str:
    """Its Package URL, with the release as `distro` and the source package as `upstream`."""
    from packageurl import PackageURL

    distribution = system.get("ID", "")
    release = system.get("VERSION_CODENAME") or system.get("VERSION_ID", "")
    qualifiers = {
        "arch": package.architecture,
        "distro": f"{distribution}-{release}" if distribution and release else "",
        "upstream": package.source if package.source != package.name else "",
    }
    return PackageURL(
        type=_PURL_TYPES.get(package.manager, "generic"),
        namespace=distribution or None,
        name=package.name,
        version=package.version or None,
        qualifiers={key: value for key, value in qualifiers.items() if value},
    ).to_string()


def _origin_of_package(inventory: Inventory, package: InstalledPackage) -> Origin:
    """The layer that wrote the package's list of files: of one that was upgraded, the layer of the upgrade."""
    for pattern in _DATABASES:
        path = pattern.format(name=package.name, architecture=package.architecture)
        record = inventory.files.get(path.encode(errors="surrogateescape"))
        if record is not None:
            return _origin(inventory, record.layer)
    return Origin()


def _origin(inventory: Inventory, index: int) -> Origin:
    if index == NO_LAYER or index >= len(inventory.layers):
        return Origin()
    layer: LayerRecord = inventory.layers[index]
    return Origin(layer=layer.diff_id or layer.digest, key=layer.key, flavour=layer.flavour, step=layer.title)


def _time(inventory: Inventory) -> datetime:
    """SOURCE_DATE_EPOCH of the build, else the time of the newest file: never that of the call."""
    seconds = (inventory.manifest or {}).get("source-date-epoch")
    if not isinstance(seconds, int):
        newest = max((record.mtime for record in inventory.files.values()), default=0)
        seconds = newest // 1_000_000_000
    return datetime.fromtimestamp(min(max(seconds, 0), _LATEST), UTC)


def _notes(inventory: Inventory) -> tuple[str, ...]:
    missing = () if inventory.packages is not None else ("no database of packages was found",)
    return (*inventory.notes, *missing)


def origin_fields(origin: Origin) -> Iterable[tuple[str, str]]:
    """Names and values of what is known."""
    fields = (
        ("layer", origin.layer),
        ("key", origin.key),
        ("flavour", origin.flavour),
        ("step", origin.step),
    )
    return [(name, value) for name, value in fields if value]

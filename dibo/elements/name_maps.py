"""What packages and services are called in each distribution: `pkg-map` and `svc-map` of elements.

    pkg-map (JSON): {"release": {"debian": {"bookworm": {"web": "nginx-full"}}}, "distro": {"debian": {"web": "nginx"}},
                     "family": {"redhat": {"web": "nginx nginx-mod-stream"}}, "default": {"web": ""}}
    svc-map (YAML): web: {debian: nginx, redhat: nginx-server, default: httpd}

The most specific name counts. Empty text means that there is nothing to install; text with spaces means several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dibo.elements.documents import load_document, mapping_of
from dibo.errors import FlavourError
from dibo.flavours.schema import nearest

FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "redhat": ("almalinux", "centos", "fedora", "openeuler", "rhel", "rocky"),
    "debian": ("debian", "ubuntu"),
    "suse": ("opensuse",),
    "gentoo": ("gentoo",),
}
"""Distributions by family, for both maps."""
_SECTIONS: Final = ("release", "distro", "family", "default")
_RELEASES: Final = {"8-stream": "8"}
"""Releases by another name in maps."""


def family_of(distribution: str) -> str:
    """The family of a distribution, or empty text."""
    return next((family for family, members in FAMILIES.items() if distribution in members), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageMap:
    """The pkg-map of one element: names by section. Distribution and release are keys of the upper levels."""

    release: Mapping[str, Mapping[str, Mapping[str, str]]]
    distro: Mapping[str, Mapping[str, str]]
    family: Mapping[str, Mapping[str, str]]
    default: Mapping[str, str]

    def names(self, package: str, *, distribution: str, release: str = "") -> tuple[str, ...] | None:
        """The names of `package`; None if the map does not have it, none if there is nothing to install."""
        for section in (
            self.release.get(distribution, {}).get(_RELEASES.get(release, release), {}),
            self.distro.get(distribution, {}),
            self.family.get(family_of(distribution), {}),
            self.default,
        ):
            if package in section:
                return tuple(section[package].split())
        return None


def parse_package_map(text: str, *, origin: str) -> PackageMap:
    """The map in the text of a pkg-map. Raises FlavourError."""
    data = mapping_of(load_document(text, origin), origin)
    for section in data:
        if section not in _SECTIONS:
            raise FlavourError(f"{origin}: unknown section {section!r}{nearest(section, _SECTIONS)}")
    return PackageMap(
        release={
            distribution: {
                release: _names(names, f"{origin}: release.{distribution}.{release}")
                for release, names in mapping_of(releases, f"{origin}: release.{distribution}").items()
            }
            for distribution, releases in mapping_of(data.get("release"), f"{origin}: release").items()
        },
        distro=_named(data, "distro", origin),
        family=_named(data, "family", origin),
        default=_names(data.get("default"), f"{origin}: default"),
    )


def translate(
    packages: Iterable[str], package_map: PackageMap | None, *, distribution: str, release: str = ""
) -> tuple[str, ...]:
    """The names of `packages` in a distribution, each once; a package that the map does not have keeps its name."""
    names: list[str] = []
    for package in packages:
        translated = None
        if package_map is not None:
            translated = package_map.names(package, distribution=distribution, release=release)
        names += (package,) if translated is None else translated
    return tuple(dict.fromkeys(names))


def parse_service_map(text: str, *, origin: str) -> dict[str, dict[str, str]]:
    """The names of services by distribution, family or `default`. Raises FlavourError."""
    services = mapping_of(load_document(text, origin), origin)
    return {service: _names(names, f"{origin}: {service}") for service, names in services.items()}


def merge_services(
    maps: Iterable[tuple[str, Mapping[str, Mapping[str, str]]]], *, distribution: str
) -> dict[str, str]:
    """The names of all services in a distribution, from the maps of several elements, each with its element; sorted.
    Raises FlavourError if two elements name one service."""
    names: dict[str, str] = {}
    owners: dict[str, str] = {}
    for element, services in maps:
        for service, by_distribution in services.items():
            if service in owners:
                raise FlavourError(
                    f"the elements {owners[service]} and {element} both map the service {service}",
                    hint="remove it from one of the two files svc-map",
                )
            owners[service] = element
            keys = (distribution, family_of(distribution), "default")
            names[service] = next((by_distribution[key] for key in keys if key in by_distribution), service)
    return dict(sorted(names.items()))


def _named(data: Mapping[str, object], section: str, origin: str) -> dict[str, dict[str, str]]:
    groups = mapping_of(data.get(section), f"{origin}: {section}")
    return {name: _names(names, f"{origin}: {section}.{name}") for name, names in groups.items()}


def _names(value: object, place: str) -> dict[str, str]:
    names = {}
    for name, mapped in mapping_of(value, place).items():
        if isinstance(mapped, dict | list):
            raise FlavourError(f"{place}: {name}: expected text, got {mapped!r}")
        names[name] = "" if mapped is None else str(mapped)
    return names

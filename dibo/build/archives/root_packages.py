"""What a root says to apt: its packages, sources, keys and preferences, as far as it decides what apt would install.

It is read out of a root that others made, and given to apt of this machine. So it is values only: no program of the
root runs, no setting of it counts but those named here, no source but of http and https. Where a root says more than
that, it has an obstacle, and packages are chosen by apt in the root, when a step runs.
dibo.build.archives.root_reader reads it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from dibo.build.archives.archive import PackageArchive
from dibo.plan.keys import canonical

FORMAT: Final = 1
_MOST_ARCHITECTURES: Final = 4
FIELDS: Final = (
    *("Package", "Architecture", "Version", "Multi-Arch", "Priority", "Section", "Source", "Essential"),
    *("Protected", "Important", "Provides", "Depends", "Pre-Depends", "Recommends", "Suggests", "Breaks"),
    *("Conflicts", "Replaces", "Enhances"),
)
"""Fields of a package that decide what apt would install (deb-control(5))."""
_HELD: Final = "hold ok installed"
_LONGEST_OBSTACLE: Final = 300
LATEST: Final = (1 << 32) - 1
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9+.-]*")
_VERSION: Final = re.compile(r"[A-Za-z0-9.+:~-]+")
_LINE: Final = re.compile(r"[^\n\r]*")
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9._+-]*", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"https?://[A-Za-z0-9._~:/%+,=\-\[\]]+")
_SUITE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+~/-]*[A-Za-z0-9])?")
_COMPONENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/-]*")
_KEYRING: Final = re.compile(r"[0-9a-f]{32}\.(gpg|asc)")


class Obstacle(Exception):
    """Why packages cannot be chosen before a build."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootPackages:
    """With an `obstacle`, nothing else counts."""

    names: tuple[str, ...] = ()
    """Under which flavours list packages for it, the first that has a list counts."""
    installed: tuple[Mapping[str, str], ...] = ()
    """FIELDS of each package, and `Status` of one that is held."""
    archives: tuple[PackageArchive, ...] = ()
    keyrings: Mapping[str, bytes] = field(default_factory=dict)
    """By the names that archives have for them, which end as apt tells their form."""
    foreign: tuple[str, ...] = ()
    """Architectures of which it takes packages beside its own."""
    preferences: str = ""
    recommends: bool = True
    """Whether what packages recommend is installed, too."""
    suggests: bool = False
    clock: int = 0
    """When its packages changed last, in seconds since 1970."""
    obstacle: str = ""
    """Why packages cannot be chosen before a build."""

    @property
    def text(self) -> str:
        """As it is kept."""
        archives = [
            {
                "address": archive.address,
                "suite": archive.suite,
                "components": list(archive.components),
                "keyrings": list(archive.keyrings),
                "architectures": list(archive.architectures),
                "old": archive.is_old,
            }
            for archive in self.archives
        ]
        return canonical(
            {
                "format": FORMAT,
                "names": list(self.names),
                "installed": [dict(stanza) for stanza in self.installed],
                "archives": archives,
                "keyrings": {name: base64.b64encode(key).decode() for name, key in self.keyrings.items()},
                "foreign": list(self.foreign),
                "preferences": self.preferences,
                "recommends": self.recommends,
                "suggests": self.suggests,
                "clock": self.clock,
                "obstacle": self.obstacle,
            }
        )


def parse_root_packages(text: str) -> RootPackages:
    """What `RootPackages.text` says. Raises ValueError for anything else."""
    try:
        document: dict[str, Any] = json.loads(text)
        if document["format"] != FORMAT:
            raise ValueError(f"expected packages of a root of format {FORMAT}")
        root = RootPackages(
            names=tuple(map(str, document["names"])),
            installed=tuple(checked_stanza(stanza) for stanza in document["installed"]),
            archives=tuple(
                checked_archive(
                    PackageArchive(
                        address=str(archive["address"]),
                        suite=str(archive["suite"]),
                        components=tuple(map(str, archive["components"])),
                        keyrings=tuple(map(str, archive["keyrings"])),
                        architectures=checked_architectures(map(str, archive["architectures"])),
                        is_old=archive["old"] is True,
                    )
                )
                for archive in document["archives"]
            ),
            keyrings={
                str(name): base64.b64decode(key, validate=True) for name, key in document["keyrings"].items()
            },
            foreign=checked_architectures(map(str, document["foreign"])),
            preferences=str(document["preferences"]),
            recommends=document["recommends"] is True,
            suggests=document["suggests"] is True,
            clock=min(max(0, int(document["clock"])), LATEST),
            obstacle=shown(str(document["obstacle"])),
        )
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError, Obstacle) as error:
        raise ValueError(f"expected packages of a root: {error}") from error
    if any(_KEYRING.fullmatch(name) is None for name in root.keyrings):
        raise ValueError("expected keyrings by their digests")
    if any(name not in root.keyrings for archive in root.archives for name in archive.keyrings):
        raise ValueError("expected the keyring of each archive")
    return root


def shown(text: str) -> str:
    """As it can stand in a plan."""
    return "".join(letter for letter in text if letter.isprintable())[:_LONGEST_OBSTACLE]


def checked_stanza(fields: Mapping[str, str]) -> dict[str, str]:
    """What counts of a package. Raises Obstacle for what dpkg does not write."""
    stanza = {name: fields[name] for name in FIELDS if fields.get(name)}
    well_formed = (
        _NAME.fullmatch(stanza.get("Package", ""))
        and _VERSION.fullmatch(stanza.get("Version", ""))
        and _WORD.fullmatch(stanza.get("Architecture", ""))
    )
    if not well_formed or not all(map(_LINE.fullmatch, stanza.values())):
        raise Obstacle("the package database of the base is damaged")
    if fields.get("Status") == _HELD:
        stanza["Status"] = _HELD
    return stanza


def checked_architectures(names: Iterable[str]) -> tuple[str, ...]:
    """Each once. Raises Obstacle for what is no architecture, and for very many."""
    architectures = tuple(dict.fromkeys(names))
    if len(architectures) > _MOST_ARCHITECTURES or not all(map(_NAME.fullmatch, architectures)):
        raise Obstacle("the base takes packages of architectures that dibo does not know")
    return architectures


def checked_archive(archive: PackageArchive) -> PackageArchive:
    """The archive. Raises Obstacle for one that dibo does not read."""
    address = _without_login(archive.address)
    if address != archive.address:
        raise Obstacle(f"a source of packages of the base has a login: {address}")
    if _ADDRESS.fullmatch(address) is None or not _has_host(address):
        raise Obstacle(f"the base has packages of {address!r}, which is no address of http")
    components = archive.components
    if (
        _SUITE.fullmatch(archive.suite) is None
        or ".." in archive.suite
        or not components
        or not all(_COMPONENT.fullmatch(name) and ".." not in name for name in components)
    ):
        raise Obstacle(f"the base has a source of packages without suite and components: {address}")
    return archive


def _without_login(address: str) -> str:
    """An address as it can be shown."""
    return re.sub(r"(?<=//)[^/]*@", "", address)


def _has_host(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False

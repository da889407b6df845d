"""What a root says to apt: its packages, sources, keys and preferences, as far as it decides what apt would install.

It is read out of a root that others made, and given to apt of this machine. So it is values only: no program of the
root runs, no setting of it counts but those named here, no source but of http and https. Where a root says more than
that, it has an obstacle, and packages are chosen by apt in the root, when a step runs. sources.list(5),
apt.conf(5), apt_preferences(5), dpkg(1).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from dibo.build.archives.apt_settings import apt_settings, says_yes
from dibo.build.archives.apt_sources import AptSource, apt_sources, says_no
from dibo.build.archives.archive import PackageArchive, digest
from dibo.plan.keys import canonical
from dibo.tree import dpkg
from dibo.tree.node import Node
from dibo.tree.query import find, names_in, os_release

FORMAT: Final = 1
_MOST_ARCHITECTURES: Final = 4
KEPT: Final = (
    *(b"etc/os-release", b"usr/lib/os-release", b"var/lib/dpkg/status", b"var/lib/dpkg/arch"),
    *(b"etc/apt/", b"usr/share/keyrings/", b"usr/local/share/keyrings/"),
)
"""Files that are read: prefixes of their paths without the first slash."""
FIELDS: Final = (
    *("Package", "Architecture", "Version", "Multi-Arch", "Priority", "Section", "Source", "Essential"),
    *("Protected", "Important", "Provides", "Depends", "Pre-Depends", "Recommends", "Suggests", "Breaks"),
    *("Conflicts", "Replaces", "Enhances"),
)
"""Fields of a package that decide what apt would install (deb-control(5))."""
_HELD: Final = "hold ok installed"
_LONGEST_OBSTACLE: Final = 300
_LATEST: Final = (1 << 32) - 1
_LARGEST_KEYRING: Final = 4 << 20
_MOST_ARCHIVES: Final = 64
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9+.-]*")
_VERSION: Final = re.compile(r"[A-Za-z0-9.+:~-]+")
_LINE: Final = re.compile(r"[^\n\r]*")
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9._+-]*", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"https?://[A-Za-z0-9._~:/%+,=\-\[\]]+")
_SUITE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+~/-]*[A-Za-z0-9])?")
_COMPONENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/-]*")
_KEYRING: Final = re.compile(r"[0-9a-f]{32}\.(gpg|asc)")
_READ_FILE: Final = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9_:.-]*")
"""Names of files that apt reads in its directories."""
_LOGIN: Final = re.compile(r"^\s*machine\s", re.MULTILINE)
_ELSEWHERE: Final = re.compile(r"(?:rootdir|dir|dir::etc(?:::.*)?|dir::state(?:::.*)?|apt::architectures?)")
"""Settings by which apt reads other files than those that are read here, or takes other packages."""
_OPTIONS: Final = frozenset(
    ("arch", "signed-by", "check-valid-until", "lang", "pdiffs", "by-hash", "target", "description")
)
"""Of sources: those that are understood here, and those that do not decide which packages there are."""
_ARMOUR: Final = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_PLAIN_KEYS: Final = (b"\x98", b"\x99", b"\xc6")
"""How keyrings begin that apt takes and that have no armour (apt-key(8), is_supported_keyring)."""


class _Obstacle(Exception):
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
            installed=tuple(_checked_stanza(stanza) for stanza in document["installed"]),
            archives=tuple(
                _checked(
                    PackageArchive(
                        address=str(archive["address"]),
                        suite=str(archive["suite"]),
                        components=tuple(map(str, archive["components"])),
                        keyrings=tuple(map(str, archive["keyrings"])),
                        architectures=_checked_architectures(map(str, archive["architectures"])),
                        is_old=archive["old"] is True,
                    )
                )
                for archive in document["archives"]
            ),
            keyrings={
                str(name): base64.b64decode(key, validate=True) for name, key in document["keyrings"].items()
            },
            foreign=_checked_architectures(map(str, document["foreign"])),
            preferences=str(document["preferences"]),
            recommends=document["recommends"] is True,
            suggests=document["suggests"] is True,
            clock=min(max(0, int(document["clock"])), _LATEST),
            obstacle=_shown(str(document["obstacle"])),
        )
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError, _Obstacle) as error:
        raise ValueError(f"expected packages of a root: {error}") from error
    if any(_KEYRING.fullmatch(name) is None for name in root.keyrings):
        raise ValueError("expected keyrings by their digests")
    if any(name not in root.keyrings for archive in root.archives for name in archive.keyrings):
        raise ValueError("expected the keyring of each archive")
    return root


def read_root_packages(root: Node, architecture: str) -> RootPackages:
    """What a root says, whose files KEPT are in memory (Node.data). `architecture` is Debian's word."""
    try:
        return _read(root, architecture)
    except _Obstacle as error:
        return RootPackages(obstacle=_shown(str(error)))


def _shown(text: str) -> str:
    """As it can stand in a plan."""
    return "".join(letter for letter in text if letter.isprintable())[:_LONGEST_OBSTACLE]


def _read(root: Node, architecture: str) -> RootPackages:
    status = find(root, "/var/lib/dpkg/status")
    if status is None or status.data is None:
        raise _Obstacle("the base has no packages of dpkg")
    installed = tuple(map(_checked_stanza, dpkg.installed_paragraphs(_text(status))))
    if not any(stanza["Package"] == "apt" for stanza in installed):
        raise _Obstacle("the base has no apt")
    foreign = _foreign(root, installed, architecture)
    settings = _settings(root)
    if any(map(_LOGIN.search, _parts(root, "auth.conf", ".conf"))):
        raise _Obstacle("the base has logins for its sources of packages (auth.conf)")
    preferences = _parts(root, "preferences", ".pref")
    keyrings: dict[str, bytes] = {}
    archives = _archives(root, {architecture, *foreign}, keyrings)
    if not says_yes(settings, "acquire::check-valid-until", default=True):
        archives = [replace(archive, is_old=True) for archive in archives]
    return RootPackages(
        names=_names(root),
        installed=installed,
        archives=tuple(archives),
        keyrings=keyrings,
        foreign=foreign,
        preferences="\n\n".join(f"{text.strip()}\n" for text in preferences if text.strip()),
        recommends=says_yes(settings, "apt::install-recommends", default=True),
        suggests=says_yes(settings, "apt::install-suggests", default=False),
        clock=min(max(0, status.mtime // 1_000_000_000), _LATEST),
    )


def _text(node: Node) -> str:
    return bytes(node.data or b"").decode("utf-8", "replace")


def _files(root: Node, directory: str, *endings: str) -> Iterator[tuple[str, Node]]:
    """(name, file) of those in memory that apt reads, with one of some endings, sorted, symbolic links followed."""
    for name in names_in(root, directory):
        text = name.decode("utf-8", "replace")
        if _READ_FILE.fullmatch(text) is None or PurePosixPath(text).suffix not in endings:
            continue
        node = find(root, f"{directory}/{text}")
        if node is not None and node.data is not None:
            yield text, node


def _names(root: Node) -> tuple[str, ...]:
    """As steps take a flavour's list (the script `run` of steps): by os-release(5)."""
    release = os_release(root)
    name = release.get("ID", "unknown")
    version = release.get("VERSION_CODENAME") or release.get("VERSION_ID") or "unknown"
    return (f"{name}-{version}", name, *release.get("ID_LIKE", "").split(), "default")


def _checked_stanza(fields: Mapping[str, str]) -> dict[str, str]:
    """What counts of a package. Raises _Obstacle for what dpkg does not write."""
    stanza = {name: fields[name] for name in FIELDS if fields.get(name)}
    well_formed = (
        _NAME.fullmatch(stanza.get("Package", ""))
        and _VERSION.fullmatch(stanza.get("Version", ""))
        and _WORD.fullmatch(stanza.get("Architecture", ""))
    )
    if not well_formed or not all(map(_LINE.fullmatch, stanza.values())):
        raise _Obstacle("the package database of the base is damaged")
    if fields.get("Status") == _HELD:
        stanza["Status"] = _HELD
    return stanza


def _foreign(root: Node, installed: tuple[Mapping[str, str], ...], architecture: str) -> tuple[str, ...]:
    """The architectures that were added (dpkg(1), --add-architecture). Raises _Obstacle for a root of another one."""
    listed = find(root, "/var/lib/dpkg/arch")
    named = _text(listed).split() if listed is not None else [architecture]
    if architecture not in named:
        raise _Obstacle(f"the base takes packages of {' and '.join(named)[:80]}, not of {architecture}")
    if not {stanza["Architecture"] for stanza in installed} <= {*named, "all"}:
        raise _Obstacle(f"the base has packages of other architectures than {' and '.join(named)[:80]}")
    return _checked_architectures(name for name in named if name != architecture)


def _checked_architectures(names: Iterable[str]) -> tuple[str, ...]:
    """Each once. Raises _Obstacle for what is no architecture, and for very many."""
    architectures = tuple(dict.fromkeys(names))
    if len(architectures) > _MOST_ARCHITECTURES or not all(map(_NAME.fullmatch, architectures)):
        raise _Obstacle("the base takes packages of architectures that dibo does not know")
    return architectures


def _settings(root: Node) -> Mapping[str, str]:
    """Those of apt. Raises _Obstacle for some that dibo does not understand."""
    try:
        settings = apt_settings(_parts(root, "apt.conf", ".conf"))
    except ValueError as error:
        raise _Obstacle(f"the settings of apt in the base (apt.conf) are not understood: {error}") from error
    if strange := sorted(filter(_ELSEWHERE.fullmatch, settings)):
        raise _Obstacle(f"the base has apt work otherwise than dibo knows ({strange[0]})")
    if settings.get("apt::default-release"):
        raise _Obstacle("the base prefers a release (APT::Default-Release)")
    return settings


def _parts(root: Node, name: str, ending: str) -> list[str]:
    """The texts of a file in /etc/apt and of those in the directory of its name, as apt reads them."""
    parts = [_text(node) for _, node in _files(root, f"/etc/apt/{name}.d", "", ending)]
    file = find(root, f"/etc/apt/{name}")
    if file is not None and file.data is not None:
        # apt reads settings of the directory first, and all others after the file.
        parts.insert(len(parts) if name == "apt.conf" else 0, _text(file))
    return parts


def _archives(root: Node, architectures: Set[str], keyrings: dict[str, bytes]) -> list[PackageArchive]:
    """Those that count for some architectures, each once. Their keys are put into `keyrings`."""
    archives: dict[tuple[str, str, tuple[str, ...]], PackageArchive] = {}
    main = find(root, "/etc/apt/sources.list")
    files = [("sources.list", main)] if main is not None and main.data is not None else []
    for name, node in [*files, *_files(root, "/etc/apt/sources.list.d", ".list", ".sources")]:
        for source in _sources(name, _text(node)):
            listed = set(re.split(r"[\s,]+", source.options["arch"])) if source.options.get("arch") else None
            if listed is not None and not listed & architectures:
                continue
            archive = replace(
                _archive(source),
                keyrings=_keys_of(source, root, keyrings),
                architectures=tuple(sorted(listed & architectures)) if listed is not None else (),
            )
            place = archive.address, archive.suite, archive.architectures
            known = archives.get(place, archive)
            archives[place] = replace(
                known, components=tuple(dict.fromkeys((*known.components, *archive.components)))
            )
    if not archives:
        raise _Obstacle("the base names no source of packages")
    if len(archives) > _MOST_ARCHIVES:
        raise _Obstacle(f"the base names more than {_MOST_ARCHIVES} sources of packages")
    return list(archives.values())


def _sources(name: str, text: str) -> list[AptSource]:
    """Those of a file. Raises _Obstacle."""
    try:
        return list(apt_sources(name, text))
    except ValueError as error:
        raise _Obstacle(f"the sources of packages of the base in {name} cannot be read: {error}") from error


def _archive(source: AptSource) -> PackageArchive:
    """Without its keys. Raises _Obstacle."""
    if unknown := sorted(name for name in set(source.options) - _OPTIONS if not name.startswith("x-")):
        raise _Obstacle(f"a source of packages of the base says {unknown[0]}")
    return _checked(
        PackageArchive(
            address=source.address.rstrip("/"),
            suite=source.suite,
            components=source.components,
            is_old=says_no(source.options.get("check-valid-until")),
        )
    )


def _checked(archive: PackageArchive) -> PackageArchive:
    """The archive. Raises _Obstacle for one that dibo does not read."""
    address = _without_login(archive.address)
    if address != archive.address:
        raise _Obstacle(f"a source of packages of the base has a login: {address}")
    if _ADDRESS.fullmatch(address) is None or not _has_host(address):
        raise _Obstacle(f"the base has packages of {address!r}, which is no address of http")
    components = archive.components
    if (
        _SUITE.fullmatch(archive.suite) is None
        or ".." in archive.suite
        or not components
        or not all(_COMPONENT.fullmatch(name) and ".." not in name for name in components)
    ):
        raise _Obstacle(f"the base has a source of packages without suite and components: {address}")
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


def _keys_of(source: AptSource, root: Node, keyrings: dict[str, bytes]) -> tuple[str, ...]:
    """The names of the keyrings that sign a source, which are put into `keyrings`. Raises _Obstacle."""
    named = source.options.get("signed-by", "")
    if named.startswith(_ARMOUR.decode()):
        keys = [named.encode() + b"\n"]
    elif named:
        keys = [_keyring(root, path) for path in re.split(r"[\s,]+", named) if path]
    else:
        nodes = [node for _, node in _files(root, "/etc/apt/trusted.gpg.d", ".gpg", ".asc")]
        main = find(root, "/etc/apt/trusted.gpg")
        nodes += [main] if main is not None else []
        keys = [bytes(node.data) for node in nodes if node.data]
        keys = [key for key in keys if key.startswith(_PLAIN_KEYS) or _ARMOUR in key]  # apt skips others, too
    names = []
    for key in keys:
        if not key or len(key) > _LARGEST_KEYRING:
            raise _Obstacle(f"the base has no keys for its packages of {source.address[:80]}")
        armoured = not key.startswith(_PLAIN_KEYS) and _ARMOUR in key
        if armoured:
            key = key[key.index(_ARMOUR) :].replace(b"\r\n", b"\n")
        name = f"{digest(key)[:32]}.{'asc' if armoured else 'gpg'}"
        keyrings[name] = key
        names.append(name)
    if not names:
        raise _Obstacle(f"the base has no keys for its packages of {source.address[:80]}")
    return tuple(dict.fromkeys(names))


def _keyring(root: Node, path: str) -> bytes:
    """The bytes of a keyring; none where there is no such file."""
    node = find(root, path) if path.startswith("/") else None
    return bytes(node.data) if node is not None and node.data is not None else b""

"""How a root that is in memory is read, as apt would: sources.list(5), apt.conf(5), apt_preferences(5), dpkg(1).

All of it came from outside, so what is read is checked (dibo.build.archives.root_packages). Where a root says more than
dibo understands, it has an obstacle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final

from dibo.build.archives.apt_settings import apt_settings, says_yes
from dibo.build.archives.apt_sources import AptSource, apt_sources, says_no
from dibo.build.archives.archive import PackageArchive, digest
from dibo.build.archives.root_packages import (
    LATEST,
    Obstacle,
    RootPackages,
    checked_architectures,
    checked_archive,
    checked_stanza,
    shown,
)
from dibo.tree import dpkg
from dibo.tree.node import Node
from dibo.tree.query import find, names_in, os_release

KEPT: Final = (
    *(b"etc/os-release", b"usr/lib/os-release", b"var/lib/dpkg/status", b"var/lib/dpkg/arch"),
    *(b"etc/apt/", b"usr/share/keyrings/", b"usr/local/share/keyrings/"),
)
"""Files that are read: prefixes of their paths without the first slash."""
_LARGEST_KEYRING: Final = 4 << 20
_MOST_ARCHIVES: Final = 64
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


def read_root_packages(root: Node, architecture: str) -> RootPackages:
    """What a root says, whose files KEPT are in memory (Node.data). `architecture` is Debian's word."""
    try:
        return _read(root, architecture)
    except Obstacle as error:
        return RootPackages(obstacle=shown(str(error)))


def _read(root: Node, architecture: str) -> RootPackages:
    status = find(root, "/var/lib/dpkg/status")
    if status is None or status.data is None:
        raise Obstacle("the base has no packages of dpkg")
    installed = tuple(map(checked_stanza, dpkg.installed_paragraphs(_text(status))))
    if not any(stanza["Package"] == "apt" for stanza in installed):
        raise Obstacle("the base has no apt")
    foreign = _foreign(root, installed, architecture)
    settings = _settings(root)
    if any(map(_LOGIN.search, _parts(root, "auth.conf", ".conf"))):
        raise Obstacle("the base has logins for its sources of packages (auth.conf)")
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
        clock=min(max(0, status.mtime // 1_000_000_000), LATEST),
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


def _foreign(root: Node, installed: tuple[Mapping[str, str], ...], architecture: str) -> tuple[str, ...]:
    """The architectures that were added (dpkg(1), --add-architecture). Raises Obstacle for a root of another one."""
    listed = find(root, "/var/lib/dpkg/arch")
    named = _text(listed).split() if listed is not None else [architecture]
    if architecture not in named:
        raise Obstacle(f"the base takes packages of {' and '.join(named)[:80]}, not of {architecture}")
    if not {stanza["Architecture"] for stanza in installed} <= {*named, "all"}:
        raise Obstacle(f"the base has packages of other architectures than {' and '.join(named)[:80]}")
    return checked_architectures(name for name in named if name != architecture)


def _settings(root: Node) -> Mapping[str, str]:
    """Those of apt. Raises Obstacle for some that dibo does not understand."""
    try:
        settings = apt_settings(_parts(root, "apt.conf", ".conf"))
    except ValueError as error:
        raise Obstacle(f"the settings of apt in the base (apt.conf) are not understood: {error}") from error
    if strange := sorted(filter(_ELSEWHERE.fullmatch, settings)):
        raise Obstacle(f"the base has apt work otherwise than dibo knows ({strange[0]})")
    if settings.get("apt::default-release"):
        raise Obstacle("the base prefers a release (APT::Default-Release)")
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
        raise Obstacle("the base names no source of packages")
    if len(archives) > _MOST_ARCHIVES:
        raise Obstacle(f"the base names more than {_MOST_ARCHIVES} sources of packages")
    return list(archives.values())


def _sources(name: str, text: str) -> list[AptSource]:
    """Those of a file. Raises Obstacle."""
    try:
        return list(apt_sources(name, text))
    except ValueError as error:
        raise Obstacle(f"the sources of packages of the base in {name} cannot be read: {error}") from error


def _archive(source: AptSource) -> PackageArchive:
    """Without its keys. Raises Obstacle."""
    if unknown := sorted(name for name in set(source.options) - _OPTIONS if not name.startswith("x-")):
        raise Obstacle(f"a source of packages of the base says {unknown[0]}")
    return checked_archive(
        PackageArchive(
            address=source.address.rstrip("/"),
            suite=source.suite,
            components=source.components,
            is_old=says_no(source.options.get("check-valid-until")),
        )
    )


def _keys_of(source: AptSource, root: Node, keyrings: dict[str, bytes]) -> tuple[str, ...]:
    """The names of the keyrings that sign a source, which are put into `keyrings`. Raises Obstacle."""
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
            raise Obstacle(f"the base has no keys for its packages of {source.address[:80]}")
        armoured = not key.startswith(_PLAIN_KEYS) and _ARMOUR in key
        if armoured:
            key = key[key.index(_ARMOUR) :].replace(b"\r\n", b"\n")
        name = f"{digest(key)[:32]}.{'asc' if armoured else 'gpg'}"
        keyrings[name] = key
        names.append(name)
    if not names:
        raise Obstacle(f"the base has no keys for its packages of {source.address[:80]}")
    return tuple(dict.fromkeys(names))


def _keyring(root: Node, path: str) -> bytes:
    """The bytes of a keyring; none where there is no such file."""
    node = find(root, path) if path.startswith("/") else None
    return bytes(node.data) if node is not None and node.data is not None else b""

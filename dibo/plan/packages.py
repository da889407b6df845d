"""Packages as an archive offers them: what apt would install for a wish, as values that keys cover.

A package is known by its name, version, architecture and the sha256 of its file. An archive that offers another file
under an old version therefore offers another package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Identity = tuple[str, str, str, str]
"""Name, version, architecture, sha256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivePackage:
    """One package of an archive. `sha256` is hexadecimal, `size` in bytes, `path` relative to an archive's address."""

    name: str
    version: str
    architecture: str
    sha256: str
    size: int = field(compare=False)
    path: str = field(compare=False)
    is_security: bool = field(default=False, compare=False)
    """Whether it comes from an archive of security updates."""

    @property
    def identity(self) -> Identity:
        return self.name, self.version, self.architecture, self.sha256

    def document(self) -> dict[str, object]:
        """As JSON has it."""
        return {
            "name": self.name,
            "version": self.version,
            "architecture": self.architecture,
            "sha256": self.sha256,
            "size": self.size,
            "path": self.path,
            "security": self.is_security,
        }


Packages = tuple[ArchivePackage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenPackages:
    """What apt said, for those who ask the same."""

    name: str
    """64 hexadecimal digits: the state of the archives, and all wishes up to this one."""
    wish: str
    """The same of the wishes alone."""
    words: tuple[str, ...]
    """What was wished for last."""
    text: str
    """JSON: the packages, and which names they take the place of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageNames:
    """The names under which flavours list packages for a base, the first that has a list counts; none, and why, where
    packages are not chosen before a build."""

    names: tuple[str, ...] = ()
    obstacle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptText:
    """What was read once of a base, for those who would read the same; `name` has 64 hexadecimal digits."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What apt would install for the base and for each list of packages of a stack, each given those before it."""

    base: Packages = ()
    steps: tuple[Packages, ...] = ()
    answers: tuple[ChosenPackages, ...] = field(default=(), compare=False, repr=False)
    obstacle: str = ""
    """Why nothing was chosen; empty where it was."""
    clock: int = 0
    """When the packages of a base that is there changed last, in seconds since 1970; 0 for one that is built."""
    root: KeptText | None = field(default=None, compare=False, repr=False)
    """What a base that is there says to apt."""

    @property
    def kept(self) -> tuple[ChosenPackages | KeptText, ...]:
        """All that other machines would ask for."""
        return (*([self.root] if self.root is not None else []), *self.answers)


NOTHING: Final = Resolution(obstacle="none were asked for")
EPOCH_IS_NAMED: Final = "the epoch is named"
"""Why none are chosen where the user says so."""
"""Nothing was chosen."""


def parse_package(document: Mapping[str, Any]) -> ArchivePackage:
    """The package of a document. Raises ValueError for any other."""
    texts = [document.get(name) for name in ("name", "version", "architecture", "sha256", "path")]
    size = document.get("size")
    if not all(isinstance(text, str) and text for text in texts) or not isinstance(size, int):
        raise ValueError("expected a package with name, version, architecture, sha256, path and size")
    name, version, architecture, sha256, path = map(str, texts)
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef") or ".." in path.split("/"):
        raise ValueError(f"the package {name} has no sha256, or a path out of its archive")
    return ArchivePackage(
        name=name,
        version=version,
        architecture=architecture,
        sha256=sha256,
        size=size,
        path=path,
        is_security=document.get("security") is True,
    )


def identities(packages: Iterable[ArchivePackage]) -> list[list[str]]:
    """What a key covers of packages: in one order, whatever theirs is."""
    return [list(identity) for identity in sorted({package.identity for package in packages})]


def package_changes(
    expected: Sequence[object], actual: Sequence[object], security: frozenset[tuple[str, str]] = frozenset()
) -> list[str]:
    """The lines that say how `expected` differs from `actual`, two lists of identities. `security` names those, by name
    and version, that security updates bring."""
    new, old = _by_name(expected), _by_name(actual)
    lines = []
    for name in sorted(new.keys() | old.keys()):
        versions, before = _column(new.get(name, ()), 1), _column(old.get(name, ()), 1)
        if name not in old:
            lines.append(f"{name} {versions} is new")
        elif name not in new:
            lines.append(f"{name} {before} is gone")
        elif versions != before:
            note = " (security)" if any((name, entry[1]) in security for entry in new[name]) else ""
            lines.append(f"{name} {before} → {versions}{note}")
        elif _column(new[name], 2) != _column(old[name], 2):
            lines.append(f"{name} {versions} for {_column(old[name], 2)} → {_column(new[name], 2)}")
        elif new[name] != old[name]:
            lines.append(f"{name} {versions} has other content under the same version")
    return lines


def security_of(packages: Iterable[ArchivePackage]) -> frozenset[tuple[str, str]]:
    """Names and versions of those that security updates bring."""
    return frozenset((package.name, package.version) for package in packages if package.is_security)


def _by_name(entries: Sequence[object]) -> dict[str, list[list[str]]]:
    """The identities of each name, sorted."""
    names: dict[str, list[list[str]]] = {}
    for entry in entries:
        if isinstance(entry, list) and len(entry) == 4:
            names.setdefault(str(entry[0]), []).append([str(word) for word in entry])
    return {name: sorted(listed) for name, listed in names.items()}


def _column(entries: Sequence[Sequence[str]], place: int) -> str:
    return ", ".join(dict.fromkeys(entry[place] for entry in entries))


def same_versions_differ(before: Iterable[ArchivePackage], now: Iterable[ArchivePackage]) -> list[str]:
    """Packages that have another file now under the version that they had, for people."""
    known = {package.identity[:3]: package.sha256 for package in before}
    return sorted(
        f"{package.name} {package.version} ({package.architecture})"
        for package in now
        if known.get(package.identity[:3], package.sha256) != package.sha256
    )

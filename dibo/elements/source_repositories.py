"""The sources that elements fetch, in files `source-repository-NAME`:

    # name  type  destination  location  [ref]
    keylime git /tmp/keylime https://git.example/keylime.git v6.2.0
    agent   tar /tmp/agent   $MIRROR/agent-1.39.tar.gz       .
    get-pip file /tmp/get-pip.py https://pip.example/get-pip.py

As the README of the element source-repositories describes them: DIB_REPOTYPE_name, DIB_REPOLOCATION_name and
DIB_REPOREF_name replace the columns, DIB_GITREPOBASE the server of all repositories.

The lines are text that a shell expands. dibo expands variables and quotes itself; a file with a line that runs a
command is left to the element's own hook, in the sandbox (`SourceFile.needs_shell`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePosixPath
from typing import Final

from dibo.elements.shell_text import NeedsShell, UnsetVariable, expand_words, variables_in
from dibo.errors import FlavourError
from dibo.flavours.schema import nearest

FILE_PREFIX: Final = "source-repository-"
_SERVER: Final = re.compile(r"^[^:]+://[^/]+/(?:~[^/]+)?")
_COLUMNS: Final = "<name> <git|tar|file|package> <destination> <location> [<ref>]"


class SourceType(Enum):
    GIT = "git"
    TAR = "tar"
    FILE = "file"
    PACKAGE = "package"
    """Nothing is fetched: the element installs packages."""


_DEFAULT_REFS: Final = {SourceType.GIT: "master", SourceType.TAR: "*"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRepository:
    """One source, after all overrides."""

    name: str
    type: SourceType
    destination: PurePosixPath | None
    """In the image."""
    location: str
    ref: str
    """git: what is checked out, or `*` for all; tar: the directory of the archive that counts, or `.`, or `*`."""
    fetched: bool = True
    """Whether its element installs from source."""
    origin: str = field(default="", compare=False)
    """For messages: file and line."""

    def ingredients(self, digest: str) -> dict[str, str]:
        """What of it is in the key of a layer. `digest` is that of the content: the id of the commit for git, where
        `ref` may move, and the sha256 of an archive or a file. The location is not part: mirrors have equal content."""
        return {
            "name": self.name,
            "type": self.type.value,
            "destination": str(self.destination or ""),
            "directory": self.ref if self.type is SourceType.TAR else "",
            "all": "yes" if self.type is SourceType.GIT and self.ref == "*" else "",
            "digest": digest,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    repositories: tuple[SourceRepository, ...]
    needs_shell: str = ""
    """The first line that only a shell can expand, and why; then `repositories` are not all of them."""
    variables: frozenset[str] = frozenset()
    """That the lines read, and those that replace their columns."""


def parse_source_repositories(text: str, *, origin: str, environment: Mapping[str, str]) -> SourceFile:
    """The sources in the text of a source-repository file. Raises FlavourError."""
    repositories: list[SourceRepository] = []
    variables: set[str] = {"NO_SOURCE_REPOSITORIES", "DIB_GITREPOBASE", "DIB_DEFAULT_INSTALLTYPE"}
    if environment.get("NO_SOURCE_REPOSITORIES"):
        return SourceFile(repositories=(), variables=frozenset(variables))
    needs_shell = ""
    for number, line in enumerate(text.split("\n"), start=1):
        place = f"{origin}:{number}"
        variables |= variables_in(line)
        try:
            words = expand_words(line, environment)
        except NeedsShell as error:
            needs_shell = needs_shell or f"{place}: {error}"
            continue
        except UnsetVariable as error:
            raise FlavourError(
                f"{place}: the variable {error} is not set",
                hint=f"set it in an environment.d file, or pass it: {error}=...",
            ) from error
        columns = " ".join(words).split()
        if columns and not columns[0].startswith("#"):
            repository = _repository(columns, place, environment)
            repositories.append(repository)
            variables |= {f"{prefix}_{_suffix(repository.name)}" for prefix in _OVERRIDES}
    return SourceFile(
        repositories=tuple(repositories), needs_shell=needs_shell, variables=frozenset(variables)
    )


_OVERRIDES: Final = ("DIB_REPOTYPE", "DIB_REPOLOCATION", "DIB_REPOREF", "DIB_INSTALLTYPE")


def _suffix(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", name)


def _repository(columns: list[str], place: str, environment: Mapping[str, str]) -> SourceRepository:
    name, kind, rest = columns[0], columns[1] if len(columns) > 1 else "", columns[2:]
    given_type = _type(kind, place)
    destination = rest.pop(0) if rest and rest[0].startswith("/") else ""
    location = rest.pop(0) if rest else ""
    ref = rest.pop(0) if rest else ""
    if rest:
        raise FlavourError(f"{place}: more than five columns", hint=f"expected {_COLUMNS}")
    overrides = {prefix: environment.get(f"{prefix}_{_suffix(name)}", "") for prefix in _OVERRIDES}
    source_type = _type(overrides["DIB_REPOTYPE"], place) if overrides["DIB_REPOTYPE"] else given_type
    base = environment.get("DIB_GITREPOBASE", "")
    if overrides["DIB_REPOLOCATION"]:
        location = overrides["DIB_REPOLOCATION"]
    elif base and source_type is SourceType.GIT:
        location = _SERVER.sub(base.replace("\\", r"\\"), location)
    install_type = overrides["DIB_INSTALLTYPE"] or environment.get("DIB_DEFAULT_INSTALLTYPE", "source")
    fetched = install_type == "source" and source_type is not SourceType.PACKAGE
    if fetched and not (destination and location):
        raise FlavourError(
            f"{place}: {name} has no {'location' if destination else 'destination'}",
            hint=f"expected {_COLUMNS}",
        )
    if ".." in PurePosixPath(destination).parts:
        raise FlavourError(f"{place}: the destination {destination} has ..")
    return SourceRepository(
        name=name,
        type=source_type,
        destination=PurePosixPath(destination) if destination else None,
        location=location,
        ref=overrides["DIB_REPOREF"] or ref or _DEFAULT_REFS.get(given_type, ""),
        fetched=fetched,
        origin=place,
    )


def _type(word: str, place: str) -> SourceType:
    known = tuple(source_type.value for source_type in SourceType)
    if word not in known:
        raise FlavourError(
            f"{place}: expected one of {', '.join(known)}, got {word!r}{nearest(word, known)}",
            hint=f"a line is {_COLUMNS}",
        )
    return SourceType(word)


def check_destinations(repositories: Iterable[SourceRepository]) -> None:
    """Raises FlavourError if two different sources have one destination."""
    by_destination: dict[PurePosixPath, SourceRepository] = {}
    for repository in repositories:
        if not repository.fetched or repository.destination is None:
            continue
        earlier = by_destination.setdefault(repository.destination, repository)
        if _content(earlier) != _content(repository):
            raise FlavourError(
                f"{repository.origin}: {repository.name} has the destination {repository.destination},"
                f" as {earlier.name} at {earlier.origin}",
                hint="build them into different images, or change one destination",
            )


def _content(repository: SourceRepository) -> tuple[SourceType, str, str]:
    return repository.type, repository.location, repository.ref

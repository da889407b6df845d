"""What changed in packages, as their changelogs say: deb-changelog(5).

A changelog is read out of the file of a package that is here; else it is asked of the service that the signed state of
an archive names (`Changelogs`); else the file is fetched, if it is small: a build needs it, too. What a service
says is for people alone, nothing is decided by it.

    Changelogs: https://server.example/changelogs/@CHANGEPATH@_changelog
                                                  main/o/openssl/openssl_3.0.17-1
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from dibo.build.archives.archive import PackageArchive
from dibo.build.archives.package_files import PackageFiles, read_text
from dibo.errors import DiboError
from dibo.plan.packages import ArchivePackage
from dibo.system import http
from dibo.system.retry import RetryPolicy

_SERVICE: Final = re.compile(r"^Changelogs: *(https?://\S+)$", re.MULTILINE)
_MARK: Final = "@CHANGEPATH@"
_ENTRY: Final = re.compile(r"^[a-z0-9][a-z0-9+.-]* \(([^() ]+)\)(?: [A-Za-z0-9.-]+)*;", re.MULTILINE)
_SIGNATURE: Final = re.compile(r"\n -- [^\n]*(?:\n|$)")
_REBUILT: Final = re.compile(r"\+b\d+$")
_TOGETHER: Final = 4
_SMALL: Final = 4 << 20
_LARGEST: Final = 64 << 20
_MOST_LINES: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Changelogs:
    """Of packages of `archives`, whose files `files` has or fetches."""

    archives: Sequence[PackageArchive]
    files: PackageFiles
    policy: RetryPolicy

    def news_of(self, packages: Sequence[tuple[ArchivePackage, str]]) -> tuple[str, ...]:
        """Of each package, the entries after the version beside it; empty where there is no changelog."""
        services = self._services() if packages else ()

        def one(pair: tuple[ArchivePackage, str]) -> str:
            package, before = pair
            return news(self._changelog(package, services), before)

        with ThreadPoolExecutor(_TOGETHER) as pool:
            return tuple(pool.map(one, packages))

    def _services(self) -> tuple[str, ...]:
        """What archives name, each once."""
        services: list[str] = []
        if self.files.offline:
            return ()
        for archive in self.archives:
            with suppress(DiboError):
                answer = http.get(archive.release_address, policy=self.policy)
                match = (
                    _SERVICE.search(answer.body.decode("utf-8", "replace")) if answer is not None else None
                )
                if match is not None and _MARK in match[1]:
                    services.append(match[1])
        return tuple(dict.fromkeys(services))

    def _changelog(self, package: ArchivePackage, services: Sequence[str]) -> str:
        if text := self._read(package):
            return text
        for service in services:
            with suppress(DiboError):
                answer = http.get(service.replace(_MARK, quote(change_path(package))), policy=self.policy)
                if answer is not None:
                    return answer.body.decode("utf-8", "replace")
        if package.size <= _SMALL:
            self.files.fetch_ahead(package)
            return self._read(package)
        return ""

    def _read(self, package: ArchivePackage) -> str:
        path = self.files.find(package)
        with suppress(OSError):
            if path is not None:
                directory = f"usr/share/doc/{package.name}/changelog"
                with path.open("rb") as file:
                    names = (f"{directory}.Debian.gz", f"{directory}.gz", f"{directory}.Debian")
                    return read_text(file, names, limit=_LARGEST) or ""
        return ""


def change_path(package: ArchivePackage) -> str:
    """Where a service has the changelog of a package: component, directory and version of its source."""
    parts = package.path.split("/")
    directory = "/".join(parts[1:-1]) if parts[0] == "pool" else "/".join(parts[:-1])
    version = _REBUILT.sub("", package.version.partition(":")[2] or package.version)
    return f"{directory}/{directory.rpartition('/')[2]}_{version}"


def news(changelog: str, before: str) -> str:
    """The entries after version `before`, each without its signature; the first alone where that version has none."""
    starts = list(_ENTRY.finditer(changelog))
    versions = [match[1] for match in starts]
    count = next((n for n, version in enumerate(versions) if version == _REBUILT.sub("", before)), 1)
    ends = [match.start() for match in starts[1:]] + [len(changelog)]
    entries = (
        _SIGNATURE.sub("\n", changelog[match.start() : end]).strip()
        for match, end in zip(starts[:count], ends, strict=False)
    )
    lines = [line.rstrip() for entry in entries for line in entry.splitlines() if line.strip()]
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], f"… {len(lines) - _MOST_LINES} more lines"]
    return "\n".join(lines)

"""Where Debian packages come from while a base is built.

In this order: the mirror that the user names; on a Debian host, what its own apt uses for the wanted
release; or nothing said, and mmdebstrap takes the distribution's own servers. None of it stays in an image
(containerfiles/bases/debian.mirror.sh), and none of it is an ingredient.

Of the host's sources only http and https entries without a login for `main` of the release, its updates and its
security updates count, in both of apt's formats (sources.list(5)); what they say of keys is left to mmdebstrap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.build.archives.apt_sources import apt_sources
from dibo.build.archives.archive import PackageArchive
from dibo.errors import UsageError

MIRROR: Final = "http://deb.debian.org/debian"
"""Where no mirror is named (mmdebstrap(1))."""
_SECURITY: Final = "http://security.debian.org/debian-security"
_ADDRESS: Final = re.compile(r"https?://[^/@]+(/.*)?")
"""Of the host's sources: without a login, which dibo would show."""
_SNAPSHOT: Final = re.compile(r"/\d{8}T\d{6}Z(/|$)")  # how snapshot archives name a moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Addresses for the suites of a release. `own_security` adds the distribution's own security updates."""

    entries: tuple[tuple[str, str], ...]
    own_security: bool = False

    def lines(self, architecture: str) -> str:
        """As sources.list(5) has them. A snapshot is past its date on purpose."""
        apt_lines = []
        for uri, suite in self.entries:
            old = " check-valid-until=no" if _SNAPSHOT.search(uri) else ""
            apt_lines.append(f"deb [arch={architecture}{old}] {uri} {suite} main")
        return "\n".join(apt_lines)


def sources(suite: str, *, mirror: str | None, host: Path = Path("/")) -> Sources | None:
    """What to build from, or None for the distribution's own servers. Raises UsageError."""
    if mirror:
        return _of_mirror(suite, mirror)
    return _of_host(suite, host)


def archives_of(suite: str, listed: Sources | None) -> tuple[PackageArchive, ...]:
    """The same as archives; without sources, the distribution's own."""
    if listed is None:
        entries = [(MIRROR, name) for name in (_suites(suite)[:2] if _updates(suite) else (suite,))]
        return archives_of(suite, Sources(entries=tuple(entries), own_security=_updates(suite)))
    archives = [PackageArchive(address=address, suite=name) for address, name in listed.entries]
    if listed.own_security:
        archives.append(PackageArchive(address=_SECURITY, suite=f"{suite}-security"))
    return tuple(archives)


def _of_mirror(suite: str, mirror: str) -> Sources:
    addresses = mirror.split()
    if len(addresses) > 2 or not all(re.fullmatch(r"https?://[^\s'\"]+", address) for address in addresses):
        raise UsageError(
            f"{mirror!r} is not a mirror",
            hint="give the address of a Debian archive, and, after a blank, that of its security updates",
        )
    entries = (
        [(addresses[0], address) for address in _suites(suite)[:2]]
        if _updates(suite)
        else [(addresses[0], suite)]
    )
    if len(addresses) == 2:
        entries.append((addresses[1], f"{suite}-security"))
    return Sources(entries=tuple(entries), own_security=len(addresses) == 1 and _updates(suite))


def _of_host(suite: str, host: Path) -> Sources | None:
    try:
        release = (host / "etc/os-release").read_text()
    except OSError:
        return None
    if not re.search(r'^ID="?debian"?$', release, re.MULTILINE):
        return None
    suites = _suites(suite)
    uris = {name: uri for uri, name in reversed(list(_entries(host / "etc/apt"))) if name in suites}
    if suite not in uris:
        return None
    return Sources(entries=tuple((uris[name], name) for name in suites if name in uris))


def _suites(suite: str) -> tuple[str, str, str]:
    return suite, f"{suite}-updates", f"{suite}-security"


def _updates(suite: str) -> bool:
    return suite not in ("sid", "unstable")


def _entries(directory: Path) -> Iterator[tuple[str, str]]:
    """(address, suite) of each source of binary packages of `main`."""
    for path in [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))]:
        try:
            file_sources = list(apt_sources(path.name, path.read_text(errors="replace")))
        except (OSError, ValueError):  # apt does not read it either
            continue
        for source in file_sources:
            if "main" in source.components and _ADDRESS.fullmatch(source.address):
                yield source.address, source.suite

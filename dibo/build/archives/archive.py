"""An archive of Debian packages, as far as dibo reads it: one suite at one address."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SNAPSHOT: Final = re.compile(r"/\d{8}T\d{6}Z(/|$)")  # how snapshot archives name a moment


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageArchive:
    """A suite of an archive. `keyrings` are names of those of a root that sign it (dibo.build.archives.root_packages);
    none where that of the settings does. With `architectures`, it is asked for packages of these alone. With `is_old`,
    it may be past the date that it says of itself."""

    address: str
    suite: str
    components: tuple[str, ...] = ("main",)
    keyrings: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    is_old: bool = False

    @property
    def release_address(self) -> str:
        """Where its signed state is."""
        return f"{self.address.rstrip('/')}/dists/{self.suite}/InRelease"

    @property
    def is_security(self) -> bool:
        return self.suite.endswith("-security")

    def line(self, *, architectures: Sequence[str], keyring: str) -> str:
        """As sources.list(5) has it, for some architectures. `keyring` is a file, or several with commas between. A
        snapshot is past its date on purpose."""
        old = " check-valid-until=no" if self.is_old or _SNAPSHOT.search(self.address) else ""
        options = f"arch={','.join(self.architectures or architectures)} signed-by={keyring}{old}"
        return f"deb [{options}] {self.address} {self.suite} {' '.join(self.components)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveState:
    """Archives at one moment: the sha256 of the signed file of each, in their order."""

    archives: tuple[PackageArchive, ...]
    digests: tuple[str, ...]

    def document(self) -> list[list[str]]:
        """What tells this state from others. Addresses do not: mirrors of one state are one state."""
        return [[archive.suite, digest] for archive, digest in zip(self.archives, self.digests, strict=True)]


def digest(data: bytes) -> str:
    """sha256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """The same of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def addresses(archives: Sequence[PackageArchive]) -> tuple[str, ...]:
    """Where files of packages may be, without repetition."""
    return tuple(dict.fromkeys(archive.address.rstrip("/") for archive in archives))

"""apt of this machine, asked what it would install in a root that is not there.

It gets a directory of its own: nothing of this machine's settings, sources, keys or installed packages counts
(apt.conf(5), Dir). It verifies the signed state of the archives with the keyring that it is given, and fetches what it
has not. Its lists stay, so that the next time only changes are fetched.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from dibo.build.archives.archive import PackageArchive, digest
from dibo.build.archives.root_packages import FIELDS, RootPackages
from dibo.errors import BaseError, CommandFailed, ToolMissing
from dibo.plan.packages import ArchivePackage, Packages
from dibo.system import process
from dibo.system.package_names import how_to_install

_REMOVED: Final = re.compile(r"^The following packages will be REMOVED:\n((?: .*\n)+)", re.MULTILINE)
_COUNT: Final = re.compile(r"^\d+ upgraded, .*\b(\d+) to remove", re.MULTILINE)
_REMOVE: Final = re.compile(r"^Remv (\S+)", re.MULTILINE)
_MADISON: Final = re.compile(r"\s*(\S+) \|\s*(\S+) \| \S+ (\S+)/\S+ ")
_FILE: Final = re.compile(r"'([^']+)' (\S+) (\d+) SHA256:([0-9a-f]{64})")
_MOST_UNMET: Final = 5
_CHECK_MIRROR: Final = "check the mirror and its keys: `dibo doctor`"
_CONFIG: Final = """\
Dir "{directory}";
Dir::State "state";
Dir::State::lists "{lists}";
Dir::State::status "{directory}/status";
Dir::State::extended_states "{directory}/extended_states";
Dir::Cache "cache";
Dir::Log "log";
Dir::Etc::sourcelist "{directory}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "/dev/null";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "{preferences}";
Dir::Etc::preferencesparts "/dev/null";
Dir::Bin::methods "/usr/lib/apt/methods";
APT::Architecture "{architecture}";
APT::Architectures {{ {architectures} }};
APT::Sandbox::User "root";
APT::Solver "internal";
APT::Install-Suggests "{suggests}";
APT::Get::Always-Include-Phased-Updates "true";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Packages that are to be installed together, as apt-get(8) takes them."""

    words: tuple[str, ...]
    recommends: bool = True
    """Whether what they recommend is installed, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """What apt would do for a wish: packages that it would install, and names of those that it would remove."""

    packages: Packages
    removed: tuple[str, ...] = ()


class Apt:
    """apt with a directory of its own."""

    def __init__(
        self,
        directory: Path,
        archives: Sequence[PackageArchive],
        *,
        lists: Path,
        architecture: str,
        keyring: Path,
        root: RootPackages | None = None,
    ) -> None:
        """`directory` is empty, `lists` has those of the last time. `keyring` has the keys of archives that name none,
        the others name those of `root`. Raises ToolMissing, BaseError."""
        if process.find("apt-get") is None:
            raise ToolMissing(
                "apt-get is not installed, and dibo asks it which packages a build would install",
                hint=f"{how_to_install('apt-get')}\nor name the state of the archive with --epoch: then packages "
                "are part of no key",
            )
        if root is None and not keyring.exists():
            raise BaseError(
                f"no keyring to check the archive's signatures with: {keyring} is missing",
                hint="install it: sudo apt-get install debian-archive-keyring",
            )
        self._directory = directory
        self._archives = tuple(archives)
        self._lists = lists
        self._of_root = root is not None
        for path in (directory / "state", directory / "cache/archives/partial", lists / "partial"):
            path.mkdir(parents=True, exist_ok=True)
        self._architecture = architecture
        architectures = (architecture, *(root.foreign if root is not None else ()))
        config = directory / "apt.conf"
        config.write_text(
            _CONFIG.format(
                directory=directory,
                lists=lists,
                architecture=architecture,
                architectures=" ".join(f'"{name}";' for name in architectures),
                preferences=_write_preferences(directory, root),
                suggests=str(root is not None and root.suggests).lower(),
            )
        )
        for name, key in root.keyrings.items() if root is not None else ():
            (directory / name).write_bytes(key)
        lines = []
        for archive in archives:
            keys = [str(directory / name) for name in archive.keyrings] or [str(keyring)]
            lines.append(archive.line(architectures=architectures, keyring=",".join(keys)))
        (directory / "sources.list").write_text("\n".join(lines) + "\n")
        (directory / "status").touch()
        self._environment = {**process.proxies(), "APT_CONFIG": str(config)}

    def update(self) -> tuple[bytes, ...]:
        """Fetch and verify the state of the archives: the signed file of each. Raises BaseError."""
        try:
            process.run(["apt-get", "-q", "--error-on=any", "update"], env=self._environment)
        except CommandFailed as error:
            check = "the base names the archives and their keys" if self._of_root else _CHECK_MIRROR
            raise BaseError(
                f"the state of the package archives cannot be read: {_reason(error.tail) or error.message}",
                hint=f"{check}; or name the state of the archive with --epoch",
            ) from error
        return tuple((self._lists / _list_name(archive)).read_bytes() for archive in self._archives)

    @property
    def digests(self) -> tuple[str, ...]:
        """Of the signed file of each archive, as they were read last; empty for one that never was."""
        paths = [self._lists / _list_name(archive) for archive in self._archives]
        return tuple(digest(path.read_bytes()) if path.exists() else "" for path in paths)

    def list_files(self) -> list[Path]:
        """The lists, as apt keeps them."""
        return sorted(path for path in self._lists.iterdir() if path.is_file() and path.name != "lock")

    def resolve(self, wish: Wish, installed: Sequence[Mapping[str, str]]) -> Transaction:
        """What apt would do where the packages of the stanzas `installed` are. Raises BaseError."""
        (self._directory / "status").write_text("".join(map(_as_installed, installed)))
        recommends = "--install-recommends" if wish.recommends else "--no-install-recommends"
        words = ["-q", "-y", recommends, "install", *wish.words]
        text = self._run("apt-get", "-oAcquire::ForceHash=SHA256", "--print-uris", *words)
        packages = self._with_security(self._files(text))
        removed = _REMOVED.search(text)
        names = removed[1].split() if removed is not None else []
        count = _COUNT.search(text)
        if count is not None and int(count[1]) != len(names):  # said in other words
            names = _REMOVE.findall(self._run("apt-get", "--simulate", *words))
        own = f":{self._architecture}"
        return Transaction(
            packages=tuple(sorted(packages, key=lambda package: package.identity)),
            removed=tuple(name.removesuffix("*").removesuffix(own) for name in names),
        )

    def stanzas(self, packages: Sequence[ArchivePackage]) -> list[dict[str, str]]:
        """What the archives say of packages, in their order. Raises BaseError for one that they do not have."""
        if not packages:
            return []
        listed: dict[str, dict[str, str]] = {}
        names = [f"{self.slot(package.name, package.architecture)}={package.version}" for package in packages]
        for text in self._run("apt-cache", "show", *names).split("\n\n"):
            fields = _fields(text)
            listed[fields.get("SHA256", "")] = fields
        try:
            return [listed[package.sha256] for package in packages]
        except KeyError as error:
            raise BaseError(f"the archive does not describe the package with the sha256 {error}") from error

    def slot(self, name: str, architecture: str) -> str:
        """What a package is called, of which one can be installed: with its architecture if that is a foreign one."""
        return name if architecture in ("all", self._architecture) else f"{name}:{architecture}"

    def _files(self, text: str) -> list[ArchivePackage]:
        """What apt would fetch."""
        files = []
        for match in map(_FILE.match, text.splitlines()):
            if match is None:
                continue
            name, version, architecture = unquote(match[2]).removesuffix(".deb").split("_")
            package = ArchivePackage(
                name=name,
                version=version,
                architecture=architecture,
                sha256=match[4],
                size=int(match[3]),
                path=self._path(match[1]),
            )
            files.append(package)
        return files

    def _with_security(self, packages: Sequence[ArchivePackage]) -> list[ArchivePackage]:
        """The packages, those of archives of security updates marked."""
        if not packages or not any(archive.is_security for archive in self._archives):
            return list(packages)
        names = [self.slot(package.name, package.architecture) for package in packages]
        listed = {
            (match[1].partition(":")[0], match[2])
            for match in map(_MADISON.match, self._run("apt-cache", "madison", *names).splitlines())
            if match is not None and "-security" in match[3]
        }
        return [
            replace(package, is_security=(package.name, package.version) in listed) for package in packages
        ]

    def _path(self, address: str) -> str:
        """The path in its archive of the file at an address."""
        for archive in self._archives:
            prefix = f"{archive.address.rstrip('/')}/"
            if address.startswith(prefix):
                return unquote(address.removeprefix(prefix))
        raise BaseError(f"apt names {address}, which is in none of the archives")

    def _run(self, *argv: str) -> str:
        done = process.run(argv, env=self._environment, capture=True, check=False)
        if done.returncode == 0:
            return done.stdout
        reasons = (*_unmet(done.stdout), _reason(done.tail))
        raise BaseError(
            f"apt cannot choose packages: {'; '.join(filter(None, reasons)) or f'{argv[0]} failed'}",
            hint="check the names of the packages"
            + (", and what the base holds back and prefers" if self._of_root else ""),
        )


def _write_preferences(directory: Path, root: RootPackages | None) -> str:
    """The name of a file with the preferences of a root."""
    if root is None or not root.preferences:
        return "/dev/null"
    path = directory / "preferences"
    path.write_text(root.preferences)
    return str(path)


def _reason(tail: Sequence[str]) -> str:
    """What apt says is wrong; of a signature it says only in a warning why it does not hold."""
    return "; ".join(line[3:].strip() for line in tail if line.startswith(("E: ", "W: GPG error:")))


def _unmet(text: str) -> list[str]:
    """The first dependencies of which apt says that they cannot be had together."""
    _, _, lines = text.partition("unmet dependencies:\n")
    unmet = itertools.takewhile(lambda line: line.startswith(" "), lines.splitlines())
    return [" ".join(line.split()) for line in unmet][:_MOST_UNMET]


def _list_name(archive: PackageArchive) -> str:
    """How apt calls the signed file of an archive in its lists (URItoFileName of apt)."""
    address = re.sub(r"^[a-z]+://(?:[^/@]*@)?", "", archive.release_address)
    quoted = re.sub(r"[\\|{}\[\]<>\"^~_=!@#$%&*]", lambda match: f"%{ord(match[0]):02x}", address)
    return quoted.replace("/", "_")


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line[:1] in (" ", "\t"):
            fields[name] = f"{fields.get(name, '')}\n{line}"
        else:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return fields


def _as_installed(stanza: Mapping[str, str]) -> str:
    """As /var/lib/dpkg/status has it."""
    lines = [f"{name}: {stanza[name]}" for name in FIELDS if name in stanza]
    status = stanza.get("Status", "install ok installed")
    return "\n".join([lines[0], f"Status: {status}", "Maintainer: -", "Description: -", *lines[1:]]) + "\n\n"

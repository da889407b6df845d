"""What the first layer is made of.

A base says first *what* it is (its ingredients, which the key of the first layer covers) and only later, when that
layer is in no cache, *where* its files are (its source). The first may look at a list on a server; only the second
downloads or builds a root file system. What a root says of its packages is asked for in between, and read once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from dibo.flavours.model import FlavourFile
from dibo.plan.input_files import InputStore
from dibo.plan.packages import ArchivePackage, PackageNames, Packages, Resolution

Ingredients = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TarFile:
    """A tar of the root, plain or compressed with gzip, xz, bzip2 or zstd; already verified."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SquashFs:
    """A squashfs image of the root; already verified."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TarCommand:
    """A command that writes a tar of the root to stdout and its progress to stderr."""

    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    prepare: Callable[[Path], Mapping[str, str]] | None = None
    """Called before: gets an empty directory that processes of other ids may enter, and gives more variables. Raises
    what fetching packages raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OciImage:
    """An image as the engine's transports name it: `docker://host/name@sha256:…`, `oci:DIR`."""

    reference: str
    plain_http: bool = False
    """Whether its registry speaks HTTP without TLS, as those on the loopback interface may."""


PRIVATE: Final = "private"
"""A network of its own, which reaches others through a program of this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerBuild:
    """A Containerfile that buildah builds."""

    text: str
    """The Containerfile, in which images are named by their digests."""
    images: tuple[OciImage, ...]
    """Those images."""
    context: Path | None
    """The directory that it copies from; None for an empty one."""
    files: tuple[FlavourFile, ...] = ()
    """What is in the context."""
    options: tuple[str, ...] = ()
    """Further options of `buildah build`."""
    network: str = "host"
    """Of its commands, in the words of `buildah build --network`."""


Source = TarFile | SquashFs | TarCommand | OciImage | ContainerBuild


class ResolutionStore(Protocol):
    """Where answers to what apt would install are, beside this machine, by their names."""

    def expect(self, names: Sequence[str]) -> None:
        """Learn at once what `load` will be asked for, in this order, up to the first that is not there."""

    def load(self, name: str) -> str | None:
        """The answer, None where there is none."""


class NoStore:
    """No such place."""

    def expect(self, _names: Sequence[str]) -> None:
        pass

    def load(self, _name: str) -> str | None:
        return None


class Base(Protocol):
    """A root file system to start from."""

    @property
    def name(self) -> str:
        """What people call it: `debian:bookworm`."""

    @property
    def architecture(self) -> str:
        """Debian's word: amd64, arm64, i386."""

    @property
    def tools(self) -> tuple[str, ...]:
        """The programs of this machine that `source` runs, or has the engine run."""

    def ingredients(self) -> Ingredients:
        """(name, value) pairs that tell this root from every other. Raises BaseError."""

    def source(self) -> Source:
        """The root itself. May take minutes. Raises BaseError, VerificationFailed, ToolMissing."""

    def package_names(self, store: ResolutionStore, *, listed: bool) -> PackageNames:
        """How flavours list packages for it, where these are chosen before a build. `listed`: whether any does, so that
        a root is not read for nothing. Raises what `source` raises, and ImageError, LayerError."""

    def resolve(self, lists: Sequence[tuple[str, ...]], store: ResolutionStore) -> Resolution:
        """What apt would install for it, and for lists of packages on it, in their order, where `package_names` has
        any. Raises BaseError, Unreachable, ToolMissing, VerificationFailed."""

    def snapshots(self) -> tuple[str, ...]:
        """Addresses where files of its packages stay. Raises Unreachable, BaseError."""

    def adopt(self, resolution: Resolution) -> None:
        """Be made of packages that were chosen before."""

    def read_inputs_from(self, store: InputStore) -> None:
        """Ask `store` for files of packages before any archive."""

    def news_of(self, packages: Sequence[tuple[ArchivePackage, str]]) -> tuple[str, ...]:
        """Of each package, what its changelog says of versions after the one beside it; empty where that is not to be
        learnt."""

    def find_package(self, package: ArchivePackage) -> Path | None:
        """The file of a package, not checked; None where it is not on this machine."""

    def write_archive(self, packages: Packages, target: Path) -> int:
        """Have the files of packages in `target`, a directory that is made, as an archive. The time of the newest, in
        seconds since 1970. Raises BaseError, Unreachable, VerificationFailed."""

    def fetch_ahead(self, package: ArchivePackage) -> None:
        """Fetch the file of a package that `write_archive` will ask for. Raises nothing: that says what is wrong."""

    def write_lists(self, target: Path) -> None:
        """Have the lists of its archives in `target`, a directory that is made, as apt has them. No such directory
        where packages are not chosen before a build, or the archives cannot be read now."""

"""The bases `debian` and `debian-minimal`: built by mmdebstrap, as an ordinary user in a user namespace, or as root.

Why not a download, as with Ubuntu: Debian publishes no root file system of its cloud images that is signed.

The packages are a list in containerfiles/bases, NAME.packages; what is done to the root at the end is
containerfiles/bases/debian.customize.sh. Both, and RECIPE, are ingredients; the mirror is not.

Which packages the archive has for that list is chosen before the build (dibo.build.archives), and is an ingredient:
mmdebstrap gets an archive of these alone. SOURCE_DATE_EPOCH is the time of the newest of them.

Where the user names an epoch, that is the ingredient in their place, and mmdebstrap installs from the mirror. If the
epoch is a date, it is also SOURCE_DATE_EPOCH, and the tar is the same, bit by bit, as long as the archive is
(mmdebstrap(1), SOURCE_DATE_EPOCH).

The default release is the newest stable one, whatever the host is: mmdebstrap 1.3 of Debian 12 builds
Debian 13, since the keyring of both has the keys of both (tried in November 2026). A host whose keyring is
older can build the release that it knows: RELEASE=bookworm.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from dibo.build import foreign
from dibo.build.archives.apt import Wish
from dibo.build.archives.archive import PackageArchive
from dibo.build.archives.resolver import Resolver
from dibo.build.bases import releases
from dibo.build.bases.archive_base import ArchiveBase
from dibo.build.bases.mirror import MIRROR, Sources, archives_of, sources
from dibo.build.bases.settings import BaseSettings
from dibo.build.namespace import enter_namespace
from dibo.errors import BaseError, ToolMissing, UsageError
from dibo.flavours.epoch import start_of
from dibo.images.sources.buildah_environment import engine_environment
from dibo.plan.base import Ingredients, NoStore, ResolutionStore, TarCommand
from dibo.plan.packages import EPOCH_IS_NAMED, PackageNames, Packages, Resolution
from dibo.system import http, process
from dibo.system.package_names import how_to_install
from dibo.system.report import Report
from dibo.system.resources import shared
from dibo.system.workspace import Workspace

RECIPE: Final = "3"  # raised when the arguments of mmdebstrap below change what comes out
VARIANT: Final = "minbase"  # what is essential, and apt; all else is in the list of packages
CLOUD_ROOT: Final = "debian"
"""The base that is a cloud image."""
MINIMAL_ROOT: Final = "debian-minimal"
"""The base that elements of diskimage-builder start from."""
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Debian(ArchiveBase):
    """A release of Debian, with the packages of a list."""

    def __init__(
        self,
        release: str,
        *,
        settings: BaseSettings,
        packages_of: str = CLOUD_ROOT,
        workspace: Workspace | None = None,
        report: Report | None = None,
    ) -> None:
        """Where packages are chosen, `workspace` keeps what that takes. `packages_of` is CLOUD_ROOT or MINIMAL_ROOT."""
        super().__init__(settings=settings, workspace=workspace, report=report or Report())
        self._list = packages_of
        self._release = suite_name(release)
        self._has_release = False
        self._packages: Packages = ()

    @property
    def name(self) -> str:
        return f"{self._list}:{self._suite}"

    @property
    def tools(self) -> tuple[str, ...]:
        tools = ["mmdebstrap"]
        if os.geteuid() != 0:
            tools.append("newuidmap")
        if not foreign.is_native(self.architecture):
            tools.append("arch-test")  # mmdebstrap tries with it whether programs of the architecture run
        return tuple(tools)

    def ingredients(self) -> Ingredients:
        self._require_release()
        return (
            ("kind", "debian"),
            ("suite", self._suite),
            ("variant", VARIANT),
            ("packages", _digest("\n".join(packages(self._list)))),
            ("customize", _digest(_script("customize"))),
            ("recipe", RECIPE),
            *(() if self._settings.resolves else (("epoch", self._settings.epoch),)),
        )

    @property
    def _suite(self) -> str:
        return self._release

    def package_names(self, _store: ResolutionStore, *, listed: bool) -> PackageNames:  # noqa: ARG002
        if not self._settings.resolves:
            return PackageNames(obstacle=EPOCH_IS_NAMED)
        return PackageNames(names=(f"debian-{self._suite}", "debian", "default"))

    def resolve(self, lists: Sequence[tuple[str, ...]], store: ResolutionStore) -> Resolution:
        if not self._settings.resolves:
            return super().resolve(lists, store)
        wishes = [self._wish(), *(Wish(words=words) for words in lists)]
        if self._settings.lock is None:
            self._require_release()
        links = self._links(wishes, store)
        self._packages, *steps = (link.transaction.packages for link in links)
        answers = tuple(link.answer for link in links)
        return Resolution(base=self._packages, steps=tuple(steps), answers=answers)

    def adopt(self, resolution: Resolution) -> None:
        self._packages = resolution.base

    def _wish(self) -> Wish:
        """What mmdebstrap installs for this variant (mmdebstrap, run_download and run_install)."""
        suite = f"?or(?archive(^{self._suite}$),?codename(^{self._suite}$))"
        of_suite = f"?narrow({suite},?architecture({self.architecture}),"
        return Wish(
            words=(
                f"{of_suite}?essential)",
                f"{of_suite}?and(?priority(required),?not(?essential)))",
                *packages(self._list),
            ),
            recommends=False,
        )

    def _archives(self) -> tuple[PackageArchive, ...]:
        return archives_of(self._suite, sources(self._suite, mirror=self._settings.mirror))

    def _resolver(self) -> Resolver:
        return Resolver(
            archives=self._archives(),
            architecture=self.architecture,
            keyring=self._keyring(),
            default_keyring=KEYRING,
            directory=self._directory,
            states=self._states(),
            report=self._report,
            offline=self._settings.offline,
        )

    def _keyring(self) -> Path:
        return self._settings.archive_keyring or KEYRING

    def _require_release(self) -> None:
        """Raise BaseError where the mirror has no release of that name. One that dibo knows is not asked for, and a
        mirror that does not answer is left to mmdebstrap."""
        if self._suite in (*releases.DEBIAN.values(), "sid") or self._settings.offline or self._has_release:
            return
        apt_sources = sources(self._suite, mirror=self._settings.mirror)
        mirror = apt_sources.entries[0][0].rstrip("/") if apt_sources else MIRROR
        try:
            http.get(f"{mirror}/dists/{self._suite}/Release", policy=self._settings.policy)
        except BaseError as error:
            if error.status == 404:
                known = ", ".join(f"{code} ({number})" for number, code in releases.DEBIAN.items())
                raise BaseError(
                    f"the mirror {mirror} has no release {self._suite}",
                    hint=f"releases of Debian are {known}; --mirror names another mirror",
                ) from error
        self._has_release = True

    def source(self) -> TarCommand:
        self.require_tools()
        prefix = self._emulator()
        environment = process.proxies()
        if prefix:
            environment |= engine_environment()
        seconds = start_of(self._settings.epoch)
        if seconds is not None and not self._settings.resolves:
            environment["SOURCE_DATE_EPOCH"] = str(seconds)
        return TarCommand(
            argv=(*prefix, *self._argv(root=bool(prefix))),
            environment=tuple(sorted(environment.items())),
            prepare=self._prepare if self._settings.resolves else None,
        )

    def _prepare(self, directory: Path) -> Mapping[str, str]:
        """The archive of the packages that were chosen, and how old they are."""
        if not self._packages:
            self.resolve((), NoStore())
        seconds = self.write_archive(self._packages, directory / "archive")
        return {"DIBO_ARCHIVE": str(directory / "archive"), "SOURCE_DATE_EPOCH": str(seconds)}

    def _emulator(self) -> tuple[str, ...]:
        """What runs mmdebstrap where programs of the architecture need a namespace with an emulator. Raises
        ToolMissing, EngineError."""
        prefix = foreign.emulation(self.architecture).prefix
        return (*enter_namespace(), *prefix) if prefix else ()

    def require_tools(self) -> None:
        """Raise ToolMissing or BaseError for what this machine lacks to make the base."""
        for tool in self.tools:
            if process.find(tool) is None:
                raise ToolMissing(
                    f"{tool} is not installed; the base debian needs it", hint=how_to_install(tool)
                )
        if not self._keyring().exists():
            raise BaseError(
                f"no keyring to check Debian's signatures with: {self._keyring()} is missing",
                hint="install it: sudo apt-get install debian-archive-keyring",
            )

    def _argv(self, *, root: bool) -> tuple[str, ...]:
        """`root`: it runs as root, of the machine or of a namespace."""
        apt_sources = sources(self._suite, mirror=self._settings.mirror)
        return (
            "mmdebstrap",
            "--mode=root" if root or os.geteuid() == 0 else "--mode=unshare",
            "--verbose",  # what apt and dpkg say: else it is silent for most of the time
            f"--variant={VARIANT}",
            "--format=tar",
            f"--architectures={self.architecture}",
            f"--include={','.join(packages(self._list))}",
            "--dpkgopt=force-unsafe-io",
            '--aptopt=Acquire::Languages "none"',
            "--skip=cleanup/apt/lists",
            *((f"--keyring={self._keyring()}",) if self._settings.archive_keyring is not None else ()),
            *self._setup_hooks(apt_sources),
            f"--customize-hook={_script('customize')}",
            self._suite,
            "-",
        )

    def _setup_hooks(self, apt_sources: Sources | None) -> tuple[str, ...]:
        hooks = []
        if self._settings.archive_keyring is not None:
            hooks.append('mkdir -p "$1/etc/apt/trusted.gpg.d"')
            hooks.append(
                f"upload {shlex.quote(str(self._keyring()))} /etc/apt/trusted.gpg.d/dibo-archive.gpg"
            )
        if apt_sources:
            hooks.append(_setup_hook(apt_sources, self._suite, self.architecture))
        if self._settings.resolves:
            hooks.append(_script("archive"))
        return tuple(f"--setup-hook={hook}" for hook in hooks)


def packages(base: str = CLOUD_ROOT) -> tuple[str, ...]:
    """The packages of a base, sorted."""
    lines = (shared("containerfiles") / "bases" / f"{base}.packages").read_text().splitlines()
    return tuple(sorted(name for line in lines if (name := line.partition("#")[0].strip())))


def suite_name(text: str) -> str:
    """The code name of a release given by that or by its number. Raises UsageError."""
    name = releases.DEBIAN.get(text, text)
    if re.fullmatch(r"[a-z]+", name) is None:
        known = ", ".join(f"{code} ({number})" for number, code in releases.DEBIAN.items())
        raise UsageError(
            f"{text!r} is no release of Debian that dibo knows", hint=f"it knows {known}; others by name"
        )
    if name in releases.UBUNTU.values():
        raise UsageError(f"{name} is a release of Ubuntu, not of Debian", hint=f"write --base ubuntu:{name}")
    if name in releases.DEBIAN_TOO_OLD:
        raise UsageError(
            f"Debian {name} lacks packages that a cloud image needs",
            hint="bookworm is the oldest that has them all",
        )
    return name


def _setup_hook(apt_sources: Sources, suite: str, architecture: str) -> str:
    security = "1" if apt_sources.own_security else ""
    variables = {"LINES": apt_sources.lines(architecture), "SUITE": suite, "SECURITY": security}
    words = "\n".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    return f"{words}\n{_script('mirror')}"


def _script(name: str) -> str:
    """A hook, comments aside: the text, since the mapped root may not read this user's files."""
    lines = (shared("containerfiles") / f"bases/debian.{name}.sh").read_text().splitlines()
    return "\n".join(line for line in lines if line.startswith("#!") or (line and not line.startswith("#")))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

"""What bases have in common whose packages are chosen before a build: the archives of these, and where files of them
are kept.

    archives/states/          which state each archive has (dibo.build.archives.states)
    archives/packages/        files of packages (dibo.build.archives.package_files)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from dibo.build.archives.apt import Wish
from dibo.build.archives.archive import PackageArchive, addresses
from dibo.build.archives.changelogs import Changelogs
from dibo.build.archives.locked import locked, read_lock
from dibo.build.archives.package_files import PackageFiles
from dibo.build.archives.resolver import ChainLink, Resolver
from dibo.build.archives.snapshots import snapshot_addresses
from dibo.build.archives.states import ArchiveStates
from dibo.build.bases.settings import BaseSettings, ConfiguredBase
from dibo.plan.base import ResolutionStore
from dibo.plan.input_files import InputStore, NoInputs
from dibo.plan.packages import ArchivePackage, Packages
from dibo.system.report import Report
from dibo.system.workspace import Workspace


class ArchiveBase(ConfiguredBase):
    """A base with archives of packages. `workspace` keeps what choosing takes."""

    def __init__(self, *, settings: BaseSettings, workspace: Workspace | None, report: Report) -> None:
        super().__init__(settings)
        self._workspace = workspace
        self._report = report
        self._inputs: InputStore = NoInputs()

    @abstractmethod
    def _resolver(self) -> Resolver:
        """What chooses packages of its archives."""

    @property
    def _chooses(self) -> bool:
        """Whether packages are chosen before a build."""
        return self._settings.resolves

    @property
    @abstractmethod
    def _suite(self) -> str:
        """What an archive of chosen packages is called."""

    def snapshots(self) -> tuple[str, ...]:
        if not self._chooses:
            return ()
        return snapshot_addresses(self._resolver().archives, self._settings.policy)

    def read_inputs_from(self, store: InputStore) -> None:
        self._inputs = store

    def news_of(self, packages: Sequence[tuple[ArchivePackage, str]]) -> tuple[str, ...]:
        if not self._chooses:
            return super().news_of(packages)
        changelogs = Changelogs(
            archives=self._resolver().archives, files=self._files(), policy=self._settings.policy
        )
        return changelogs.news_of(packages)

    def find_package(self, package: ArchivePackage) -> Path | None:
        return self._files().find(package) if self._chooses else None

    def write_archive(self, packages: Packages, target: Path) -> int:
        return self._files().write_archive(packages, target, suite=self._suite)

    def fetch_ahead(self, package: ArchivePackage) -> None:
        if self._chooses:
            self._files().fetch_ahead(package)

    def write_lists(self, target: Path) -> None:
        if self._chooses:
            self._resolver().write_lists(target)

    def _links(
        self, wishes: Sequence[Wish], store: ResolutionStore, *, root_name: str = ""
    ) -> tuple[ChainLink, ...]:
        """What a lock says for wishes, or else the archives."""
        if self._settings.lock is not None:
            return locked(self._settings.lock, wishes, architecture=self.architecture, root_name=root_name)
        return self._resolver().resolve(wishes, store)

    def _states(self) -> ArchiveStates:
        return ArchiveStates(
            directory=self._directory / "states",
            policy=self._settings.policy,
            offline=self._settings.offline,
            report=self._report,
        )

    def _files(self) -> PackageFiles:
        archives: tuple[PackageArchive, ...] = self._resolver().archives
        return PackageFiles(
            directory=self._directory / "packages",
            addresses=(*addresses(archives), *self._locked_snapshots()),
            policy=self._settings.policy,
            offline=self._settings.offline,
            report=self._report,
            store=self._inputs,
        )

    def _locked_snapshots(self) -> tuple[str, ...]:
        """None on a worker, which gets a plan and not the lock that it was made by."""
        lock = self._settings.lock
        return read_lock(lock).snapshots if lock is not None and lock.exists() else ()

    @property
    def _directory(self) -> Path:
        assert self._workspace is not None
        return self._workspace.root / "archives"

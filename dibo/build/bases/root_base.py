"""What bases have in common that are a root which is there: Ubuntu's, a file, an image.

Such a root says itself where its packages come from (dibo.build.archives.root_packages). That is read once, out of the
file or the layers, and kept by the digest of the base:

    archives/roots/NAME.json     what the root says to apt

In a registry, too, so that a runner that has neither the root nor its layers can plan.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dibo.build.archives.apt import Wish
from dibo.build.archives.archive import digest
from dibo.build.archives.resolver import Resolver
from dibo.build.archives.root_packages import FORMAT, RootPackages, parse_root_packages
from dibo.build.archives.root_reader import KEPT, read_root_packages
from dibo.build.bases.archive_base import ArchiveBase
from dibo.build.engines.base_layer import decompressed
from dibo.errors import BaseError, LayerError, ToolMissing, Unreachable
from dibo.plan.base import Ingredients, OciImage, ResolutionStore, SquashFs, TarFile
from dibo.plan.keys import canonical
from dibo.plan.packages import EPOCH_IS_NAMED, KeptText, PackageNames, Resolution
from dibo.settings.settings import NONE
from dibo.system import process
from dibo.system.package_names import how_to_install
from dibo.system.process import Process, Streams
from dibo.tree.node import Node

_MOST_BYTES: Final = 128 << 20
_NOT_LISTED: Final = "no flavour lists packages"
_NO_NETWORK: Final = "steps have no network, and sources of packages that the base names are not asked then"


class RootBase(ArchiveBase):
    """A root that is there."""

    _read: RootPackages | None = None
    _is_signed = False
    """Whether its maker is known, so that its sources may be asked where steps may ask nothing."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As of every base."""

    @abstractmethod
    def ingredients(self) -> Ingredients:
        """As of every base."""

    @abstractmethod
    def source(self) -> TarFile | SquashFs | OciImage:
        """As of every base."""

    def package_names(self, store: ResolutionStore, *, listed: bool) -> PackageNames:
        if not self._settings.resolves:
            return PackageNames(obstacle=EPOCH_IS_NAMED)
        if not listed:
            return PackageNames(obstacle=_NOT_LISTED)
        if self._settings.network == NONE and not self._is_signed:
            return PackageNames(obstacle=_NO_NETWORK)
        root = self._root(store)
        return PackageNames(names=() if root.obstacle else root.names, obstacle=root.obstacle)

    def resolve(self, lists: Sequence[tuple[str, ...]], store: ResolutionStore) -> Resolution:
        root = self._root(store)
        wishes = [Wish(words=words, recommends=root.recommends) for words in lists]
        links = self._links(wishes, store, root_name=self._root_name)
        return Resolution(
            steps=tuple(link.transaction.packages for link in links),
            answers=tuple(link.answer for link in links),
            clock=root.clock,
            root=KeptText(name=self._root_name, text=root.text),
        )

    def adopt(self, resolution: Resolution) -> None:
        if resolution.root is not None:
            self._read = parse_root_packages(resolution.root.text)

    @property
    def _chooses(self) -> bool:
        return self._read is not None and not self._read.obstacle

    @property
    def _suite(self) -> str:
        return "chosen"

    @property
    def _root_name(self) -> str:
        """64 hexadecimal digits: of the base, and of how it is read."""
        return digest(
            canonical(
                {"format": FORMAT, "architecture": self.architecture, "base": dict(self.ingredients())}
            ).encode()
        )

    def _resolver(self) -> Resolver:
        assert self._read is not None, "package_names, or adopt, comes first"
        nothing = Path("/dev/null")
        return Resolver(
            archives=self._read.archives,
            architecture=self.architecture,
            keyring=nothing,
            default_keyring=nothing,
            directory=self._directory,
            states=self._states(),
            report=self._report,
            offline=self._settings.offline,
            root=self._read,
            root_name=self._root_name,
        )

    def _root(self, store: ResolutionStore) -> RootPackages:
        """What the root says to apt, read once."""
        if self._read is None:
            name = self._root_name
            self._read = self._kept(name) or self._stored(name, store)
            if self._read is None:
                with self._report.task("reading the packages of the base"):
                    self._read = read_root_packages(self._tree(), self.architecture)
                self._keep(name, self._read.text)
        return self._read

    def _path(self, name: str) -> Path:
        return self._directory / "roots" / f"{name}.json"

    def _kept(self, name: str) -> RootPackages | None:
        with contextlib.suppress(OSError, ValueError):
            root = parse_root_packages(self._path(name).read_text())
            os.utime(self._path(name))  # used now
            return root
        return None

    def _stored(self, name: str, store: ResolutionStore) -> RootPackages | None:
        with contextlib.suppress(ValueError):
            text = store.load(name)
            if text is not None:
                root = parse_root_packages(text)
                self._keep(name, text)
                return root
        return None

    def _keep(self, name: str, text: str) -> None:
        path = self._path(name)
        part = path.with_suffix(f".{os.getpid()}.part")
        with contextlib.suppress(OSError):  # a full disk costs the next command a reading
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text)
            part.replace(path)

    def _tree(self) -> Node:
        """The root, with the files that count in memory. Raises what `source` raises, LayerError, ImageError."""
        from dibo.images.layers.limits import (
            Limits,  # as long as it takes, nothing else needs layers in a plan
        )
        from dibo.images.layers.load import LoadOptions, load, load_tar
        from dibo.images.sources.choose import choose_image
        from dibo.tree.sinks import Nowhere

        options = LoadOptions(keep=KEPT, limits=Limits(kept_bytes=_MOST_BYTES))
        source = self.source()
        if isinstance(source, OciImage):
            if self._settings.offline and source.reference.startswith("docker://"):
                raise Unreachable(
                    f"the packages of {self.name} were never read, and dibo is told to stay offline",
                    hint="run once without --offline, or name the state of the archive with --epoch",
                )
            with (
                tempfile.TemporaryDirectory(prefix="dibo-root-") as scratch,
                choose_image(
                    source.reference, architecture=self._settings.platform, scratch=Path(scratch)
                ) as image,
            ):
                return load(image.layers, Nowhere(), options).root
        if isinstance(source, TarFile):
            try:
                with source.path.open("rb") as file:
                    return load_tar(decompressed(file), Nowhere(), options).root
            except LayerError as error:
                raise BaseError(f"{source.path} is no tar that can be read: {error.message}") from error
        if process.find("sqfs2tar") is None:
            raise ToolMissing(
                "sqfs2tar is not installed, and dibo reads the packages of a squashfs with it",
                hint=f"{how_to_install('sqfs2tar')}\nor name the state of the archive with --epoch: then packages "
                "are part of no key",
            )
        streams = Streams(stdout=process.PIPE, on_output=self._report.say)
        with Process(["sqfs2tar", str(source.path)], streams=streams) as reader:
            try:
                root = load_tar(reader.stdout, Nowhere(), options).root
            except LayerError:
                reader.stdout.close()
                self._require_success(reader, source.path)
                raise
            self._require_success(reader, source.path)
        return root

    @staticmethod
    def _require_success(reader: Process, path: Path) -> None:
        if (code := reader.wait()) not in (0, -signal.SIGPIPE):
            error = process.failure(reader.argv, code, reader.tail)
            raise BaseError(f"{path} is no squashfs that can be read: {error.message}")

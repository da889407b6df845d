"""Files of packages: fetched by their digests, kept, and laid out as an archive that has nothing else.

    archives/packages/sha256-HEX-NAME_VERSION_ARCH.deb

A root installs from such an archive, so it gets the packages of its key or none. Its time is that of the newest
package: what a package holds is never younger than the package (deb(5): the time of its first member), so a layer of
packages is as old as these, whenever it is built.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import shutil
import tarfile
import tempfile
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

from dibo.build.archives.archive import file_digest
from dibo.build.engines.base_layer import decompressed
from dibo.errors import (
    BaseError,
    CommandFailed,
    DiboError,
    ToolMissing,
    Unreachable,
    VerificationFailed,
)
from dibo.plan.input_files import InputStore, NoInputs, package_file
from dibo.plan.packages import ArchivePackage, Packages
from dibo.system import http, process
from dibo.system.report import Report
from dibo.system.retry import RetryPolicy
from dibo.units import human_size

_TOGETHER: Final = 4
_FEW: Final = 4
_HELPER: Final = Path("/usr/lib/apt/apt-helper")
_CONFIG: Final = """\
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
APT::Sandbox::User "root";
Acquire::Retries "3";
"""
_MAGIC: Final = b"!<arch>\n"
_HEADER: Final = 60
_LARGEST_CONTROL: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFiles:
    """Fetches files of packages from `store`, then from `addresses`, in their order, and keeps them in `directory`."""

    directory: Path
    addresses: tuple[str, ...]
    policy: RetryPolicy
    offline: bool
    report: Report
    store: InputStore = field(default_factory=NoInputs)

    def fetch(self, packages: Packages) -> tuple[Path, ...]:
        """The file of each package, checked now. Raises Unreachable, BaseError for one that is nowhere,
        VerificationFailed."""
        self.directory.mkdir(parents=True, exist_ok=True)
        missing = [package for package in packages if not self._is_here(package)]
        if missing:
            size = sum(package.size for package in missing)
            with self.report.task("downloading packages") as task, ThreadPoolExecutor(_TOGETHER) as pool:
                done, stored = 0, 0
                # Registries that have none of the first few are asked for what no server has.
                first = [] if isinstance(self.store, NoInputs) else missing[:_FEW]
                came = dict(zip(first, pool.map(self._download, first), strict=True))
                if not any(came.values()):
                    self._fetch_together(missing)
                rest = [package for package in missing if package not in came]
                for package, from_store in chain(
                    came.items(), zip(rest, pool.map(self._download, rest), strict=True)
                ):
                    done += package.size
                    stored += package.size if from_store else 0
                    task.progress(done, size)
                task.note(
                    f"{human_size(size)}, from caches {human_size(stored)}" if stored else human_size(size)
                )
        return tuple(self._path(package) for package in packages)

    def _fetch_together(self, packages: Sequence[ArchivePackage]) -> None:
        """Fetch what apt's own downloader gets: it has one connection to a server for all files, so that hundreds of
        small ones take a second, and not half a minute. What it does not get is fetched one by one, and said then."""
        if self.offline or len(packages) < _FEW or not _HELPER.exists():
            return
        with tempfile.TemporaryDirectory(dir=self.directory, prefix="part-") as scratch:
            config = Path(scratch) / "apt.conf"
            config.write_text(_CONFIG)
            environment = {**process.proxies(), "APT_CONFIG": str(config)}
            for address in self.addresses:
                missing = [package for package in packages if not self._path(package).exists()]
                files = [(package, Path(scratch) / package.sha256) for package in missing]
                words = (
                    (f"{address}/{quote(package.path)}", str(path), f"SHA256:{package.sha256}")
                    for package, path in files
                )
                with suppress(CommandFailed, ToolMissing):  # it ends so if one of many is not there
                    argv = [str(_HELPER), "-q", "download-file", *chain.from_iterable(words)]
                    process.run(argv, env=environment, capture=True)
                for package, path in files:
                    if path.exists() and file_digest(path) == package.sha256:
                        path.chmod(0o644)
                        path.replace(self._path(package))

    def fetch_ahead(self, package: ArchivePackage) -> None:
        """Fetch the file of a package, which is checked when it is used. Raises nothing: what is wrong is said then."""
        if not self.offline and not self._path(package).exists():
            with suppress(DiboError, OSError):
                self.directory.mkdir(parents=True, exist_ok=True)
                self._download(package)

    def write_archive(self, packages: Packages, target: Path, *, suite: str) -> int:
        """Have in `target`, a directory that is made, an archive of these packages, which every user can read. The time
        of the newest, in seconds since 1970. Raises as `fetch`."""
        target.mkdir()
        target.chmod(0o755)
        stanzas, times = [], [0]
        for package, path in zip(packages, self.fetch(packages), strict=True):
            name = f"{quote(package.name)}_{package.sha256[:16]}_{package.architecture}.deb"
            link_or_copy(path, target / name)
            with path.open("rb") as file:
                time, control = read_control(file, name=path.name)
            times.append(time)
            stanzas.append(f"{control}\nFilename: {name}\nSize: {package.size}\nSHA256: {package.sha256}\n")
        text = "\n".join(stanzas).encode()
        _write(target / "Packages", text)
        release = f"Suite: {suite}\nCodename: {suite}\nComponents: main\nSHA256:\n {hashlib.sha256(text).hexdigest()} "
        _write(target / "Release", f"{release}{len(text)} Packages\n".encode())
        return max(times)

    def find(self, package: ArchivePackage) -> Path | None:
        """The file of a package, not checked; None where it is not here."""
        path = self._path(package)
        return path if path.exists() else None

    def _path(self, package: ArchivePackage) -> Path:
        file_name = f"{package.name}_{package.version.replace(':', '%3a')}_{package.architecture}.deb"
        return self.directory / f"sha256-{package.sha256}-{file_name}"

    def _is_here(self, package: ArchivePackage) -> bool:
        path = self._path(package)
        with suppress(OSError):
            if file_digest(path) == package.sha256:
                os.utime(path)  # used now
                return True
        return False

    def _download(self, package: ArchivePackage) -> bool:
        """Fetch the file of a package; whether it came from the store."""
        if self.offline:
            raise Unreachable(
                f"the package {package.name} {package.version} is not here yet, and dibo is told to stay offline",
                hint="run once without --offline",
            )
        file, path = package_file(package), self._path(package)
        if self._is_here(package):
            return False
        if self.store.bring(file, path):
            return True
        try:
            self._from_archive(package, path)
        except VerificationFailed:
            raise
        except BaseError:
            if not self.store.bring(file, path, urgent=True):
                raise
            return True
        return False

    def _from_archive(self, package: ArchivePackage, path: Path) -> None:
        """From the first address that has the file. One may have another of that path, or refuse what it has not."""
        refusals: list[BaseError] = []
        damaged: VerificationFailed | None = None
        for address in self.addresses:
            try:
                url = f"{address}/{quote(package.path)}"
                http.download(url, path, sha256=package.sha256, policy=self.policy)
                path.chmod(0o644)
            except VerificationFailed as error:
                damaged = damaged or error
            except BaseError as error:
                if not error.status:
                    raise
                refusals.append(error)
            else:
                return
        if damaged is not None:
            raise VerificationFailed(
                f"the archive has another file as {package.name} {package.version} than its signed index says: "
                f"{damaged.message}",
                hint="the mirror is damaged, or the package was changed there: take another mirror",
            ) from damaged
        is_gone = all(refusal.status in (404, 410) for refusal in refusals)
        raise BaseError(
            f"the package {package.name} {package.version} ({package.architecture}) "
            f"{'is gone' if is_gone else 'cannot be fetched'}: {'; '.join(error.message for error in refusals)}",
            hint="the archive moved on: start again" if is_gone else "check whether you may read the archive",
        )


def read_control(file: IO[bytes], *, name: str) -> tuple[int, str]:
    """The time of a package's file, in seconds since 1970, and its control stanza without an end of line. Raises
    BaseError for what is no package."""
    try:
        time, data = _archive_in(file, "control.tar", limit=_LARGEST_CONTROL)
        text = _text_in(data, ("control",))
        if text is None:
            raise KeyError("control")
    except _DAMAGED as error:
        raise BaseError(f"{name} is no package of Debian: {error}") from error
    return time, text.strip()


def read_text(file: IO[bytes], paths: Collection[str], *, limit: int) -> str | None:
    """The first of the files `paths`, without a leading slash, that a package has; None if it has none of them, is
    damaged, or if its archive of files has more than `limit` bytes."""
    try:
        return _text_in(_archive_in(file, "data.tar", limit=limit)[1], paths)
    except _DAMAGED:
        return None


_DAMAGED: Final = (
    ValueError,
    UnicodeDecodeError,
    KeyError,
    EOFError,
    OSError,
    tarfile.TarError,
    lzma.LZMAError,
)


def _archive_in(file: IO[bytes], beginning: str, *, limit: int) -> tuple[int, bytes]:
    """The time of a package, and of its archives the one whose name begins so (deb(5), ar(5))."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it is no archive of ar")
    time: int | None = None
    while len(header := file.read(_HEADER)) == _HEADER:
        member, size = header[:16].decode("ascii").strip().rstrip("/"), int(header[48:58])
        time = int(header[16:28]) if time is None else time
        if not member.startswith(beginning):
            file.seek(size + size % 2, os.SEEK_CUR)
            continue
        if size > limit:
            raise ValueError(f"its {beginning} is too large")
        return time, file.read(size)
    raise ValueError(f"it has no {beginning}")


def _text_in(data: bytes, paths: Collection[str]) -> str | None:
    """The first of these files in a tar, unpacked."""
    with tarfile.open(fileobj=decompressed(io.BufferedReader(io.BytesIO(data))), mode="r|") as tar:
        for member in tar:
            if member.name.removeprefix("./") in paths and member.isfile():
                content = tar.extractfile(member)
                packed = content.read(_LARGEST_CONTROL) if content is not None else b""
                unpacked = decompressed(io.BufferedReader(io.BytesIO(packed))) if packed else io.BytesIO()
                return unpacked.read(_LARGEST_CONTROL).decode("utf-8", "replace")
    return None


def link_or_copy(path: Path, target: Path) -> None:
    """Have a file at `target`, too, which is not there."""
    try:
        os.link(path, target)
    except OSError:  # another file system
        shutil.copyfile(path, target)
        target.chmod(0o644)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o644)

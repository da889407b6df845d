"""Parts that tests of bases share: a cache, a report that can be read, keys, a server."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.build.bases.root_base import RootBase
from dibo.build.bases.settings import BaseSettings
from dibo.build.bases.tarball import LocalFile
from dibo.system.report import Report
from dibo.system.retry import RetryPolicy
from dibo.system.workspace import Workspace
from tests.support.flavours import write_flavour
from tests.support.gpg_keys import Keys, two_keys
from tests.support.images.apt_roots import apt_root
from tests.support.requirements import need
from tests.support.servers.debian_archive import DebianArchive, debian_archive
from tests.support.servers.fake_web_server import FakeWebServer
from tests.support.timeouts import TIMEOUT
from tests.unit.build.bases.root_parts import NEWER, MakeRootBase, files_of


@pytest.fixture(scope="session")
def keys() -> Iterator[Keys]:
    need("gpg", "gpgv")
    with two_keys() as made:
        yield made


@pytest.fixture
def web() -> Iterator[FakeWebServer]:
    with FakeWebServer() as server:
        yield server


@pytest.fixture
def said() -> io.StringIO:
    """What the report said."""
    return io.StringIO()


@pytest.fixture
def report(said: io.StringIO) -> Report:
    return Report(said)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "cache")


@pytest.fixture
def settings() -> BaseSettings:
    return BaseSettings(architecture="amd64", policy=RetryPolicy(read=TIMEOUT, sleep=lambda _: None))


@pytest.fixture
def archive(keys: Keys, tmp_path: Path) -> Iterator[DebianArchive]:
    """The root has `libc` and an old `library`. `tool-a` needs a new one, `tool-b` any, `tool-c` recommends
    `extra`."""
    need("apt-get")
    with debian_archive(keys.pinned, tmp_path) as archive:
        archive.publish("libc", "2.39-1", Essential="yes")
        archive.publish("library", "3.0.17-1", depends="libc")
        archive.publish("tool-a", "1-1", depends="library (>= 3)", time=NEWER)
        archive.publish("tool-b", "1-1", depends="library")
        archive.publish("tool-c", "1-1", Recommends="extra")
        archive.publish("extra", "1-1")
        archive.sign()
        yield archive


@pytest.fixture
def make_base(archive: DebianArchive, tmp_path: Path) -> MakeRootBase:
    """What makes a base of a tar. Bases of one test share a cache directory, in which no answer of the archive is
    remembered."""

    def make(
        root: bytes | None = None,
        *,
        directory: Path | None = None,
        network: str = "host",
        resolves: bool = True,
    ) -> RootBase:
        workspace = Workspace(directory or tmp_path / "cache")
        for path in (workspace.root / "archives" / "states").glob("*"):
            os.utime(path, (0, 0))
        tar = tmp_path / "root.tar"
        tar.write_bytes(root if root is not None else apt_root(files_of(archive)))
        settings = BaseSettings(
            architecture="amd64",
            epoch="2026-11",
            resolves=resolves,
            network=network,
            policy=RetryPolicy(connect=5.0, pauses=()),
        )
        return LocalFile(tar, settings=settings, workspace=workspace, report=Report(quiet=True))

    return make


@pytest.fixture
def flavours(tmp_path: Path) -> Path:
    directory = tmp_path / "flavours"
    for name in ("a", "b", "c"):
        yaml = f"packages: {{ubuntu: [tool-{name}], default: [no-such]}}\n"
        write_flavour(directory, name, ["install.d/50-hook"], yaml=yaml)
    write_flavour(directory, "none", ["install.d/50-hook"])
    write_flavour(directory, "shut", ["install.d/50-hook"], yaml="network: false\n")
    return directory

"""An archive on loopback that has what the base `debian` wants, and a library that packages depend on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dibo.build.bases.debian import Debian, packages
from dibo.build.bases.settings import BaseSettings
from dibo.system.report import Report
from dibo.system.retry import RetryPolicy
from dibo.system.workspace import Workspace
from tests.support.gpg_keys import Key, two_keys
from tests.support.requirements import need
from tests.support.servers.debian_archive import DebianArchive, debian_archive

MakeBase = Callable[..., Debian]


@pytest.fixture(scope="session")
def archive_key() -> Iterator[Key]:
    need("gpg")
    with two_keys() as keys:
        yield keys.pinned


@pytest.fixture
def archive(archive_key: Key, tmp_path: Path) -> Iterator[DebianArchive]:
    """`tool-a` and `tool-b` depend on `library`, `tool-c` on nothing. Signed."""
    need("apt-get")
    with debian_archive(archive_key, tmp_path) as archive:
        archive.publish("libc", "2.41-1", Essential="yes", Priority="required")
        for name in packages():
            archive.publish(name, "1-1", depends="libc")
        archive.publish("library", "3.0.17-1", depends="libc")
        for name in ("tool-a", "tool-b"):
            archive.publish(name, "1-1", depends="library")
        archive.publish("tool-c", "1-1")
        archive.sign()
        yield archive


@pytest.fixture
def make_base(archive: DebianArchive, tmp_path: Path) -> MakeBase:
    """What makes the base `debian` of the archive. Bases of one test share a cache directory, in which no answer of the
    archive is remembered."""

    def make(*, offline: bool = False, directory: Path | None = None, epoch: str = "2026-11") -> Debian:
        workspace = Workspace(directory or tmp_path / "cache")
        for path in (workspace.root / "archives" / "states").glob("*"):
            _make_old(path)
        settings = BaseSettings(
            architecture="amd64",
            mirror=archive.mirror,
            archive_keyring=archive.keyring,
            epoch=epoch,
            resolves=True,
            offline=offline,
            policy=RetryPolicy(connect=5.0, pauses=()),
        )
        return Debian("trixie", settings=settings, workspace=workspace, report=Report(quiet=True))

    return make


def _make_old(path: Path) -> None:
    os.utime(path, (0, 0))

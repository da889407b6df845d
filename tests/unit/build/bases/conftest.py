"""Parts that tests of bases share: a cache, a report that can be read, keys, a server."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.build.bases.settings import BaseSettings
from dibo.system.http import Http
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from tests.support.keys import Keys, two_keys
from tests.support.parts import need
from tests.support.patience import PATIENCE
from tests.support.web import Web


@pytest.fixture(scope="session")
def keys() -> Iterator[Keys]:
    need("gpg", "gpgv")
    with two_keys() as made:
        yield made


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
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
    return BaseSettings(architecture="amd64", http=Http(timeout=PATIENCE, sleep=lambda _: None))

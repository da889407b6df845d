"""Parts that tests of bases share: a cache, a report that can be read, keys, a server."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.build.bases.settings import BaseSettings
from dibo.system.report import Report
from dibo.system.retry import RetryPolicy
from dibo.system.workspace import Workspace
from tests.support.gpg_keys import Keys, two_keys
from tests.support.requirements import need
from tests.support.servers.fake_web_server import FakeWebServer
from tests.support.timeouts import TIMEOUT


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

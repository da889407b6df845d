"""A registry on loopback, and a repository of it for a cache."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dibo.images.reference import ImageName, parse_repository
from tests.support.servers.fake_registry import FakeRegistry


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "/nonexistent")
    with FakeRegistry() as made:
        yield made


@pytest.fixture
def name(server: FakeRegistry) -> ImageName:
    return parse_repository(f"{server.host}/cache")

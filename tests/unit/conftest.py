"""Fixtures of several folders: a registry in memory, asked over plain HTTP without waiting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.system.retry import RetryPolicy
from tests.support.servers.fake_registry import FakeRegistry, RegistryState
from tests.support.servers.plain_http import speak_plain_http


@pytest.fixture
def server() -> Iterator[FakeRegistry]:
    with FakeRegistry() as started:
        yield started


@pytest.fixture
def state(server: FakeRegistry) -> RegistryState:
    return server.state


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float]:
    """Registries are asked without logins and without pauses; the pauses that would have been made, in seconds."""
    seconds: list[float] = []
    speak_plain_http(monkeypatch, RetryPolicy(sleep=seconds.append, read=5.0))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    monkeypatch.setenv("no_proxy", "*")
    return seconds

"""Images of real tools, read through every source: the same layers come out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.dockerd import Docker, dockerd

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def daemon() -> Iterator[Docker]:
    with dockerd() as started:
        yield started


def test_a_daemon_of_our_own(daemon: Docker) -> None:
    client = daemon.client()
    assert client.images.list() == []
    client.close()

"""Fixtures of the docker tests: a build environment and a daemon for each module, and a check for leftovers in both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import user
from tests.support.host.build_env import BuildEnv
from tests.support.host.docker_build_env import docker_build_env, things
from tests.support.servers.dockerd import Docker


@pytest.fixture(scope="module")
def both(request: pytest.FixtureRequest) -> Iterator[tuple[BuildEnv, Docker]]:
    """Of an ordinary user; with the flavours that the module's write_flavours() writes, if it has one."""
    who = user.need_ordinary_user()
    with docker_build_env(who) as made:
        if write := getattr(request.module, "write_flavours", None):
            write(made[0].flavours)
        yield made


@pytest.fixture
def place(both: tuple[BuildEnv, Docker]) -> BuildEnv:
    return both[0]


@pytest.fixture
def daemon(both: tuple[BuildEnv, Docker]) -> Docker:
    return both[1]


@pytest.fixture
def nothing_is_left_with_docker(place: BuildEnv, daemon: Docker) -> Iterator[None]:
    yield
    assert place.left() == []
    assert things(daemon) == []

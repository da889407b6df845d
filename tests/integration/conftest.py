"""What tests of the engine docker share: a lab with a daemon for each module, and a look for what is left in both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import user
from tests.support.docker_lab import docker_lab, things
from tests.support.dockerd import Docker
from tests.support.lab import Lab
from tests.support.parts import unmet


@pytest.fixture(scope="module")
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Lab, Docker]]:
    """Of an ordinary user; with the flavours that the module's write_flavours() writes, if it has one."""
    try:
        who = user.ordinary_user()
    except user.NoOrdinaryUser as error:
        unmet(str(error))
    with docker_lab(who) as made:
        if write := getattr(request.module, "write_flavours", None):
            write(made[0].flavours)
        yield made


@pytest.fixture
def place(both: tuple[Lab, Docker]) -> Lab:
    return both[0]


@pytest.fixture
def daemon(both: tuple[Lab, Docker]) -> Docker:
    return both[1]


@pytest.fixture
def nothing_is_left_with_docker(place: Lab, daemon: Docker) -> Iterator[None]:
    yield
    assert place.left() == []
    assert things(daemon) == []

"""Where nobody configured a store, dibo chooses its driver; the user's own commands may have another store then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, CommandResult, build_env, program
from tests.support.requirements import need

pytestmark = pytest.mark.integration

SH = "#!/bin/sh\n"


@pytest.fixture(scope="module")
def place() -> Iterator[BuildEnv]:
    need("buildah", "newuidmap", "busybox", "setpriv")
    builder = user.need_ordinary_user()
    if Path("/etc/containers/storage.conf").exists():
        pytest.skip("the store is configured for all users of this machine")
    with build_env(builder) as made:
        yield made
        assert made.left() == []


def unconfigured(place: BuildEnv, command: str, *arguments: str | Path) -> CommandResult:
    """A command of a user who never chose a driver."""
    return place.run("env", "-u", "STORAGE_DRIVER", program(command), *arguments)


def own_driver(place: BuildEnv) -> str:
    return str(json.loads(unconfigured(place, "buildah", "info").out)["store"]["GraphDriverName"])


def test_an_image_of_the_users_own_commands_is_found(place: BuildEnv) -> None:
    made = unconfigured(place, "buildah", "from", "--name", "own", "scratch")
    assert made.code == 0, made.err
    for words in (["config", "--label", "a=b", "own"], ["commit", "--rm", "own", "localhost/own:1"]):
        said = unconfigured(place, "buildah", *words)
        assert said.code == 0, said.err
    out = place.directory / "data" / "own"
    said = unconfigured(
        place, "dibo", "convert", "containers-storage:localhost/own:1", "-t", "tar", "-o", out
    )
    assert said.code == 0, said.err
    assert out.with_suffix(".tar").exists()


def test_a_tag_says_where_the_users_own_commands_find_it(place: BuildEnv) -> None:
    write_flavour(place.flavours, "plain", {"install.d/10-plain": SH + "echo plain > /plain\n"})
    said = unconfigured(place, "dibo", "build", "--no-base", "--tag", "localhost/plain:1", "plain")
    assert said.code == 0, said.err
    if own_driver(place) == "overlay":
        assert "STORAGE_DRIVER" not in said.err
        assert unconfigured(place, "buildah", "inspect", "localhost/plain:1").code == 0
    else:
        assert "find localhost/plain:1 with STORAGE_DRIVER=overlay" in said.err
        assert place.run("buildah", "inspect", "localhost/plain:1").code == 0

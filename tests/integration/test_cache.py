"""Layers in a real registry: found by runners that start from nothing, whole whatever goes wrong, never secret.

A runner is a lab: a user's directories, a store of its own, a base that is busybox alone. What travels is counted at a
proxy between the runner and the registry.
"""

from __future__ import annotations

import json
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo import registry
from dibo.entry import key_in
from dibo.names import ImageName
from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.lab import Lab, Said, lab
from tests.support.parts import need, unmet
from tests.support.proxy import Proxy
from tests.support.registry import Registry
from tests.support.registry import registry as registry_at

pytestmark = pytest.mark.integration

SH = "#!/bin/sh\nset -eu\n"
STACK = ("one", "two", "three")


@pytest.fixture(scope="module")
def who() -> pwd.struct_passwd:
    need("buildah", "newuidmap", "busybox", "setpriv")
    try:
        return user.ordinary_user()
    except user.NoOrdinaryUser as error:
        unmet(str(error))


@pytest.fixture
def runner(who: pwd.struct_passwd) -> Iterator[Lab]:
    with lab(who) as made:
        write(made)
        yield made
        assert made.left() == []


@pytest.fixture
def other(who: pwd.struct_passwd, runner: Lab) -> Iterator[Lab]:
    """Another runner, with the same flavours and base, and nothing else."""
    with lab(who) as made:
        write(made)
        shutil.copyfile(runner.directory / "base.tar", made.directory / "base.tar")
        yield made
        assert made.left() == []


@pytest.fixture
def hub(tmp_path: Path, other: Lab) -> Iterator[Registry]:
    """After the labs: making one ends every process that dibo.process does not know."""
    with registry_at(tmp_path) as started:
        yield started


@pytest.fixture
def proxy(hub: Registry) -> Iterator[Proxy]:
    with Proxy(hub.host) as started:
        yield started


def write(place: Lab) -> None:
    """Three flavours, a layer each; the last is the heaviest."""
    for number, name in enumerate(STACK, 1):
        size = 3 << 20 if name == "three" else 1 << 16
        hook = f"head -c {size} /dev/urandom > /{name}\necho {name} > /etc/{name}\n"
        write_flavour(place.flavours, name, {f"install.d/{number}0-{name}": SH + hook})


def build(place: Lab, cache: str, *names: str, **environment: str) -> Said:
    return place.run(
        "dibo", "build", "--no-base", "--cache", cache, *(names or STACK), environment=environment
    )


def plan(place: Lab, cache: str, *names: str) -> list[dict[str, object]]:
    said = place.run("dibo", "plan", "--json", "--no-base", "--cache", cache, *(names or STACK))
    assert said.code == 0, said.err
    layers: list[dict[str, object]] = json.loads(said.out)["layers"]
    return layers


def keys(repository: ImageName) -> list[str]:
    return [key for tag in registry.tags(repository) if (key := key_in(tag))]


def good(said: Said) -> Said:
    assert said.code == 0, said.err
    assert "Traceback" not in said.err
    return said


def test_a_runner_that_starts_from_nothing_finds_every_layer(
    runner: Lab, other: Lab, hub: Registry, proxy: Proxy
) -> None:
    said = good(build(runner, f"{hub.host}/team/cache"))
    assert f"stored 5 layers in {hub.host}/team/cache" in said.err
    assert "warning" not in said.err
    before = plan(other, f"{proxy.host}/team/cache")
    assert [each["held"] for each in before] == [True] * 5
    assert {each["cache"] for each in before} == {f"{proxy.host}/team/cache"}
    proxy.asked.clear()
    found = good(build(other, f"{proxy.host}/team/cache"))
    assert "install.d" not in found.err.replace("finalise", ""), "no hook ran"
    assert proxy.sent("PUT") == 0 or all("/t-" in path for path in proxy.paths("PUT"))
    image = found.out.strip()
    mine, theirs = other.tree(image), runner.tree(image)
    assert tree(mine) == tree(theirs)


def tree(tar: Path) -> str:
    return subprocess.run(["tar", "-tvf", tar], capture_output=True, text=True, check=True).stdout

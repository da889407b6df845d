"""Chosen packages and their files in a real registry: a runner that starts from nothing plans with it alone, and builds
what the archive has no longer.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.images.reference import ImageName, parse_repository
from dibo.images.registry import api
from tests.integration.test_cache import keys
from tests.integration.test_fresh import archive, place
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.host.docker_build_env import ok
from tests.support.servers.counting_proxy import CountingProxy
from tests.support.servers.registry import Registry
from tests.support.servers.registry import registry as registry_at

pytestmark = [pytest.mark.integration, pytest.mark.long]
__all__ = ["archive", "place"]

STACK = ("with-tool", "with-other")
NOWHERE = "http://127.0.0.1:9/debian"


@pytest.fixture(scope="module")
def fresh(place: BuildEnv) -> Iterator[BuildEnv]:
    """A runner with the flavours, and nothing else."""
    with build_env(place.user) as fresh:
        settings = {name: value for name, value in place.environment.items() if name.startswith("DIBO_")}
        fresh.environment |= settings
        shutil.copytree(place.flavours, fresh.flavours, dirs_exist_ok=True)
        yield fresh


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def hub(place: BuildEnv, fresh: BuildEnv, storage: Path) -> Iterator[Registry]:
    """Layers of the stack are there under /cache, and their packages."""
    with registry_at(storage, delete=True) as hub:
        words = ("--no-base", "--cache", f"{hub.host}/cache", "--cache-files", *STACK)
        done = place.run("dibo", "build", *words)
        ok(done)
        assert "input files in" in done.err
        yield hub


@pytest.fixture
def repository(hub: Registry) -> ImageName:
    return parse_repository(f"{hub.host}/cache")


def layers_of(repository: ImageName) -> set[str]:
    """Digests of the layers of all entries."""
    manifests = [json.loads(api.read_manifest(repository.tagged(f"k-{key}"))) for key in keys(repository)]
    return {layer["digest"] for manifest in manifests for layer in manifest["layers"]}


def test_a_runner_plans_without_pulling_a_layer(
    fresh: BuildEnv, hub: Registry, repository: ImageName
) -> None:
    with CountingProxy(hub.host) as proxy:
        words = ("--no-base", "--cache", f"{proxy.host}/cache", *STACK)
        done = fresh.run("dibo", "plan", "--json", *words)
        held = [layer["held"] for layer in json.loads(ok(done))["layers"]]
        assert held == [True] * 5
        assert "choosing packages" not in done.err
        assert not [
            path for path in proxy.paths("GET", "/blobs/") if path.rpartition("/")[2] in layers_of(repository)
        ]
        assert not (fresh.cache / "archives/packages").exists()
        before = len(proxy.asked)
        assert ok(fresh.run("dibo", "plan", *words)).count("cached") >= 5
        assert len(proxy.paths("GET", "/manifests/r-")) == 3, "the first plan kept what was chosen"
        assert len(proxy.asked) - before < before


def test_it_builds_a_lock_when_the_archive_is_gone(
    place: BuildEnv, fresh: BuildEnv, storage: Path, repository: ImageName
) -> None:
    here = ["env", f"--chdir={place.temporary}"]
    ok(place.run("dibo", "lock", "--no-base", "with-other", around=here))
    locked = ok(
        place.run(
            "dibo",
            "build",
            "--no-base",
            "--locked",
            "--cache",
            str(repository),
            "--cache-files",
            "with-other",
            around=here,
        )
    )
    for key in keys(repository):
        api.delete(repository.at(api.head(repository.tagged(f"k-{key}")) or ""))
    collect = ["docker-registry", "garbage-collect", str(storage / "config.yml")]
    subprocess.run(collect, check=True, capture_output=True)

    shutil.copy(place.temporary / "dibo.lock", fresh.temporary)
    there = ["env", f"--chdir={fresh.temporary}"]
    build = ("dibo", "build", "--no-base", "--locked", "--cache-from", str(repository), "with-other")
    done = fresh.run(*build, around=there, environment={"DIBO_MIRROR": NOWHERE})
    assert ok(done) == locked
    assert "from caches" in done.err
    for path in (place.temporary, fresh.temporary):
        (path / "dibo.lock").unlink()

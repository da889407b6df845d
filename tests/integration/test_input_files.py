"""Input files in a real registry: who stores them, and builds that have them from nowhere else.

The registry loses its layers before the second runner builds, and what no manifest refers to: only the input files are
left for it.
"""

from __future__ import annotations

import hashlib
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dibo.cache.input_sets import is_set
from dibo.images.reference import ImageName, parse_repository
from dibo.images.registry import api
from dibo.units import human_size
from tests.integration.test_cache import good, keys
from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, CommandResult, build_env
from tests.support.requirements import need
from tests.support.servers.fake_web_server import FakeWebServer
from tests.support.servers.registry import Registry
from tests.support.servers.registry import registry as registry_at

pytestmark = pytest.mark.integration

DATA = b"what only its server and the registry have\n" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()
HOOK = '#!/bin/sh\nset -eu\ncp "$DIBO_FETCHED/data" /usr/data\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A registry, and the server of a file that the flavour `with-data` fetches; the flavour `private` is local, and
    fetches another one."""

    hub: Registry
    storage: Path
    web: FakeWebServer

    @property
    def repository(self) -> ImageName:
        return parse_repository(f"{self.hub.host}/cache")

    def forget_layers(self) -> None:
        """Remove all layers, and have the garbage collector take what nothing refers to."""
        for key in keys(self.repository):
            api.delete(self.repository.at(api.head(self.repository.tagged(f"k-{key}")) or ""))
        collect = ["docker-registry", "garbage-collect", str(self.storage / "config.yml")]
        subprocess.run(collect, check=True, capture_output=True)

    def blob(self, sha256: str) -> Path | None:
        return next(self.storage.glob(f"data/**/blobs/sha256/*/{sha256}/data"), None)


@pytest.fixture(scope="module")
def who() -> pwd.struct_passwd:
    need("buildah", "newuidmap", "busybox", "docker-registry")
    return user.need_ordinary_user()


@pytest.fixture(scope="module")
def first(who: pwd.struct_passwd) -> Iterator[BuildEnv]:
    with build_env(who) as made:
        yield made
        assert made.left() == []


@pytest.fixture(scope="module")
def second(who: pwd.struct_passwd, first: BuildEnv) -> Iterator[BuildEnv]:
    """Another runner with the same base, and nothing else."""
    with build_env(who) as made:
        shutil.copyfile(first.directory / "base.tar", made.directory / "base.tar")
        yield made
        assert made.left() == []


@pytest.fixture
def lab(first: BuildEnv, second: BuildEnv, tmp_path: Path) -> Iterator[Lab]:
    """The first runner has stored layers and input files; the second has none of either."""
    shutil.rmtree(second.cache / "fetched", ignore_errors=True)
    with FakeWebServer() as web, registry_at(tmp_path, delete=True) as hub:
        web.site.files |= {"/data": DATA, "/key": b"a key"}
        for runner in (first, second):
            fetch = f"fetch: [{{url: '{web.url}/data', sha256: {SHA256}}}]\n"
            write_flavour(runner.flavours, "with-data", {"install.d/10-data": HOOK}, yaml=fetch)
            fetch = f"fetch: [{{url: '{web.url}/key', sha256: {hashlib.sha256(b'a key').hexdigest()}}}]\n"
            write_flavour(
                runner.flavours,
                "private",
                {"install.d/20-key": "#!/bin/sh\n"},
                yaml=f"local: true\n{fetch}",
            )
        lab = Lab(hub=hub, storage=tmp_path, web=web)
        good(build(first, lab, "--cache-files", "with-data", "private"))
        yield lab


def build(runner: BuildEnv, lab: Lab, *arguments: str) -> CommandResult:
    return runner.run("dibo", "build", "--no-base", "--cache", str(lab.repository), *arguments)


def rebuild(runner: BuildEnv, lab: Lab) -> CommandResult:
    """Build with an empty store."""
    good(runner.run("dibo", "cache", "prune", "--local", "--max-size", "0", "--yes"))
    return build(runner, lab, "with-data")


def test_a_runner_has_a_file_that_is_gone_from_its_server(second: BuildEnv, lab: Lab) -> None:
    lab.forget_layers()
    del lab.web.site.files["/data"]
    lab.web.site.asked.clear()
    done = good(rebuild(second, lab))
    assert "warning" not in done.err
    assert lab.web.site.asked == []
    assert (second.cache / "fetched" / f"sha256-{SHA256}-data").read_bytes() == DATA


def test_files_of_local_layers_stay_here(lab: Lab) -> None:
    assert lab.blob(SHA256) is not None
    assert lab.blob(hashlib.sha256(b"a key").hexdigest()) is None
    assert len(list(filter(is_set, api.tags(lab.repository)))) == 1


def test_a_damaged_file_is_refused_and_its_server_asked(second: BuildEnv, lab: Lab) -> None:
    lab.forget_layers()
    blob = lab.blob(SHA256)
    assert blob is not None
    blob.write_bytes(DATA.upper())
    done = good(rebuild(second, lab))
    assert f"the cache {lab.repository} has data in a state that cannot be used" in done.err
    assert lab.web.site.paths() == ["/data"]
    verified = second.run("dibo", "cache", "verify", str(lab.repository))
    assert (verified.code, f"sha256:{SHA256[:12]}" in verified.err) == (31, True)


def test_without_the_files_their_servers_are_asked(second: BuildEnv, lab: Lab) -> None:
    good(
        second.run(
            "dibo", "cache", "prune", "--keep-stack", "private", "--no-base", "--yes", str(lab.repository)
        )
    )
    lab.forget_layers()
    assert lab.blob(SHA256) is None
    done = good(rebuild(second, lab))
    assert "warning" not in done.err
    assert lab.web.site.paths() == ["/data"]


def test_they_are_listed_pruned_and_kept_with_their_stack(second: BuildEnv, lab: Lab) -> None:
    listed = good(second.run("dibo", "cache", "list", str(lab.repository))).out
    assert f"input files of 1 layer, {human_size(len(DATA))}" in listed
    prune = ["dibo", "cache", "prune", "--no-base", str(lab.repository), "--keep-stack"]
    kept = good(second.run(*prune, "with-data")).out
    assert "input files" not in kept
    pruned = good(second.run(*prune, "private")).out
    assert ", and input files of 1 layer; frees" in pruned
    assert list(filter(is_set, api.tags(lab.repository)))
    good(second.run(*prune, "private", "--yes"))
    assert not list(filter(is_set, api.tags(lab.repository)))

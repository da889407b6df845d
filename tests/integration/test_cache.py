"""Layers in a real registry: found by runners that start from nothing, whole whatever goes wrong, never secret.

A runner is a build environment: a user's directories, a store of its own, a base that is busybox alone. A proxy between
the runner and the registry counts what travels.
"""

from __future__ import annotations

import json
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.cache.entry import key_in
from dibo.cache.lookup import read_entry
from dibo.images.reference import ImageName, parse_repository
from dibo.images.registry import api
from dibo.images.verify import check
from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, CommandResult, build_env
from tests.support.requirements import need
from tests.support.servers.counting_proxy import CountingProxy
from tests.support.servers.registry import OCI_MANIFEST, Registry
from tests.support.servers.registry import registry as registry_at
from tests.support.timeouts import TIMEOUT, wait_until

pytestmark = pytest.mark.integration

SH = "#!/bin/sh\nset -eu\n"
STACK = ("one", "two", "three")


@pytest.fixture(scope="module")
def who() -> pwd.struct_passwd:
    need("buildah", "newuidmap", "busybox", "setpriv")
    return user.need_ordinary_user()


@pytest.fixture
def runner(who: pwd.struct_passwd) -> Iterator[BuildEnv]:
    with build_env(who) as made:
        write(made)
        yield made
        assert made.left() == []


@pytest.fixture
def other(who: pwd.struct_passwd, runner: BuildEnv) -> Iterator[BuildEnv]:
    """Another runner, with the same flavours and base, and nothing else."""
    with build_env(who) as made:
        write(made)
        shutil.copyfile(runner.directory / "base.tar", made.directory / "base.tar")
        yield made
        assert made.left() == []


@pytest.fixture
def hub(tmp_path: Path, other: BuildEnv) -> Iterator[Registry]:
    """After the labs: making one ends every process that dibo.system.process does not know."""
    with registry_at(tmp_path) as started:
        yield started


@pytest.fixture
def proxy(hub: Registry) -> Iterator[CountingProxy]:
    with CountingProxy(hub.host) as started:
        yield started


def write(place: BuildEnv) -> None:
    """Three flavours, a layer each; the last is the heaviest."""
    for number, name in enumerate(STACK, 1):
        size = 3 << 20 if name == "three" else 1 << 16
        hook = f"head -c {size} /dev/urandom > /{name}\necho {name} > /etc/{name}\n"
        write_flavour(place.flavours, name, {f"install.d/{number}0-{name}": SH + hook})


def build(place: BuildEnv, cache: str, *names: str, **environment: str) -> CommandResult:
    return place.run(
        "dibo", "build", "--no-base", "--cache", cache, *(names or STACK), environment=environment
    )


def plan(place: BuildEnv, cache: str, *names: str) -> list[dict[str, object]]:
    said = place.run("dibo", "plan", "--json", "--no-base", "--cache", cache, *(names or STACK))
    assert said.code == 0, said.err
    layers: list[dict[str, object]] = json.loads(said.out)["layers"]
    return layers


def keys(repository: ImageName) -> list[str]:
    return [key for tag in api.tags(repository) if (key := key_in(tag))]


def good(said: CommandResult) -> CommandResult:
    assert said.code == 0, said.err
    assert "Traceback" not in said.err
    return said


def test_a_runner_that_starts_from_nothing_finds_every_layer(
    runner: BuildEnv, other: BuildEnv, hub: Registry, proxy: CountingProxy
) -> None:
    said = good(build(runner, f"{hub.host}/team/cache"))
    assert f"stored 5 layers in {hub.host}/team/cache" in said.err
    assert "warning" not in said.err
    before = plan(other, f"{proxy.host}/team/cache")
    assert [each["held"] for each in before] == [True] * 5
    assert {each["cache"] for each in before} == {f"{proxy.host}/team/cache"}
    assert len(proxy.paths("GET", "/blobs/")) == 1, "a plan reads the config of one entry, and no layer"
    proxy.asked.clear()
    found = good(build(other, f"{proxy.host}/team/cache"))
    assert not found.hooks_run, "no hook ran"
    assert proxy.sent("PUT") == 0 or all("/t-" in path for path in proxy.paths("PUT"))
    image = found.out.strip()
    mine, theirs = other.tree(image), runner.tree(image)
    assert tree(mine) == tree(theirs)


def tree(tar: Path) -> str:
    return subprocess.run(["tar", "-tvf", tar], capture_output=True, text=True, check=True).stdout


def test_only_what_is_needed_travels(
    runner: BuildEnv, other: BuildEnv, hub: Registry, proxy: CountingProxy
) -> None:
    cache = f"{proxy.host}/cache"
    good(build(runner, cache))
    sent = proxy.sent("PUT")
    proxy.asked.clear()
    good(build(runner, cache))
    assert proxy.sent("PUT") == 0 or proxy.blobs("PUT") == [], "what is there is not sent again"
    assert all(each.sent < 20_000 for each in proxy.blobs("GET")), "what the store has is not fetched"
    write_flavour(runner.flavours, "three", {"install.d/30-three": SH + "echo other > /etc/three\n"})
    proxy.asked.clear()
    good(build(runner, cache))
    assert 0 < proxy.sent("PUT") < 1 << 20 < sent, "the base, one and two are not sent again"
    write_flavour(other.flavours, "three", {"install.d/30-three": SH + "echo third > /etc/three\n"})
    proxy.asked.clear()
    said = good(build(other, cache))
    assert "[3/4] three" in said.err
    assert "[2/4]" not in said.err
    assert f"two install.d: 20-two from {cache}" in said.err
    layers = [each for each in proxy.blobs("GET") if each.sent > 20_000]
    assert len(layers) == 3, "the base, one and two, once each"


def test_a_layer_is_brought_once_the_store_has_those_below(
    runner: BuildEnv, other: BuildEnv, hub: Registry, proxy: CountingProxy
) -> None:
    cache = f"{proxy.host}/cache"
    good(build(runner, cache))
    good(build(other, cache, "one", "two"))
    proxy.asked.clear()
    good(build(other, cache))
    layers = [each for each in proxy.blobs("GET") if each.sent > 20_000]
    assert len(layers) == 1, "three alone"


def test_two_runners_at_once(runner: BuildEnv, other: BuildEnv, hub: Registry) -> None:
    cache = f"{hub.host}/cache"
    started = [
        place.start("dibo", "build", "--no-base", "--cache", cache, *STACK) for place in (runner, other)
    ]
    for each in started:
        _, err = each.communicate(timeout=TIMEOUT)
        assert each.returncode == 0, err
        assert "warning" not in err
    repository = parse_repository(cache)
    assert len(keys(repository)) == 5
    verify(repository)


def verify(repository: ImageName) -> None:
    """Every entry is whole: its config, its layers, their diff_ids."""
    for key in keys(repository):
        for layer in read_entry(repository, key).image.layers:
            check(layer)


def test_a_killed_push_leaves_no_layer_to_find(
    runner: BuildEnv, other: BuildEnv, hub: Registry, proxy: CountingProxy
) -> None:
    """SIGKILL while the blob of three, which is large and is let through slowly, is on its way."""
    cache = f"{proxy.host}/cache"
    proxy.slow_at, proxy.slow = "PUT", 0.5
    started = runner.start("dibo", "build", "--no-base", "--cache", cache, *STACK)
    wait_until(lambda: len(proxy.paths("PUT", "/manifests/")) >= 2, "two entries are on their way")
    started.send_signal(signal.SIGKILL)
    started.communicate()
    proxy.slow_at = ""
    there = keys(parse_repository(cache))
    assert 2 <= len(there) < 5
    verify(parse_repository(cache))
    layers = plan(other, cache)
    assert [each["held"] for each in layers] == [each["key"] in there for each in layers]
    good(build(other, cache))
    assert len(keys(parse_repository(cache))) == 5
    good(runner.run("dibo", "plan", "--no-base", *STACK))  # sweeps what the killed run left


def test_an_interrupted_build_ends_soon(runner: BuildEnv, hub: Registry, proxy: CountingProxy) -> None:
    """SIGTERM while a layer is on its way, and a next step runs. The fixture sees that nothing is left."""
    write_flavour(runner.flavours, "three", {"install.d/30-three": SH + f"sleep {2 * TIMEOUT}\n"})
    proxy.slow_at, proxy.slow = "PUT", 1.0
    started = runner.start("dibo", "build", "--no-base", "--cache", f"{proxy.host}/cache", *STACK)
    wait_until(lambda: proxy.paths("PUT"), "a layer is on its way")
    started.send_signal(signal.SIGTERM)
    _, err = started.communicate(timeout=TIMEOUT)
    assert started.returncode == 128 + signal.SIGTERM, err
    assert "Traceback" not in err
    verify(parse_repository(f"{hub.host}/cache"))


def test_local_layers_stay(runner: BuildEnv, hub: Registry, tmp_path: Path) -> None:
    """A planted key, in a layer that says it is local, and what is built on top of it."""
    secret = "c2VjcmV0LWtleS1vZi1tZQ"
    write_flavour(
        runner.flavours,
        "mine",
        {
            "install.d/15-mine": SH
            + f"mkdir -p /root/.ssh\necho ssh-ed25519 {secret} me > /root/.ssh/authorized_keys\n"
        },
        yaml="local: true\n",
    )
    cache = f"{hub.host}/cache"
    said = good(build(runner, cache, *STACK, "mine"))
    assert "warning" not in said.err
    repository = parse_repository(cache)
    assert len(keys(repository)) == 2, "the base and one"
    assert grep(tmp_path / "data", secret) == []


def grep(directory: Path, secret: str) -> list[str]:
    """Files below `directory` that hold `secret`, plain or within a compressed layer."""
    import zstandard

    found = []
    for path in directory.rglob("data"):
        if path.is_file():
            content = path.read_bytes()
            if content[:4] == b"\x28\xb5\x2f\xfd":
                content += zstandard.ZstdDecompressor().decompressobj().decompress(content)
            if secret.encode() in content:
                found.append(str(path))
    return found


def test_a_secret_that_nobody_called_local(runner: BuildEnv, hub: Registry, tmp_path: Path) -> None:
    secret = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU"
    key = f"-----BEGIN OPENSSH PRIVATE KEY-----\\n{secret}\\n-----END OPENSSH PRIVATE KEY-----\\n"
    write_flavour(
        runner.flavours,
        "leak",
        {"install.d/15-leak": SH + f"mkdir -p /opt/x\nprintf '{key}' > /opt/x/deploy\n"},
    )
    cache = f"{hub.host}/cache"
    said = good(build(runner, cache, *STACK, "leak"))
    assert said.err.count("warning") == 1, said.err
    assert "leak install.d: 15-leak has /opt/x/deploy: a private key" in said.err
    assert len(keys(parse_repository(cache))) == 2
    assert grep(tmp_path / "data", secret) == []


def test_a_registry_that_is_read_only(
    runner: BuildEnv, other: BuildEnv, hub: Registry, proxy: CountingProxy
) -> None:
    good(build(runner, f"{hub.host}/cache", "one"))
    proxy.refuse = 403
    said = good(build(other, f"{proxy.host}/cache"))
    assert "one install.d: 10-one from" in said.err, "it is read all the same"
    assert said.err.count("warning") == 1, said.err
    assert f"not stored in {proxy.host}/cache: two install.d: 20-two; three" in said.err
    assert "answered 403" in said.err


@pytest.mark.parametrize("at", ["HEAD", "GET", "POST", "PUT", "/manifests/k-"])
def test_a_registry_that_dies_midway(
    runner: BuildEnv, other: BuildEnv, hub: Registry, proxy: CountingProxy, at: str
) -> None:
    good(build(runner, f"{hub.host}/cache", "one"))
    proxy.die_at, proxy.die_after = at, 3
    said = good(build(other, f"{proxy.host}/cache"))
    assert proxy.dead
    assert 1 <= said.err.count("warning") <= 2, said.err
    good(runner.run("dibo", "plan", "--no-base", "--cache", f"{hub.host}/cache", "one"))
    verify(parse_repository(f"{hub.host}/cache"))


def blobs_of(tmp_path: Path) -> list[Path]:
    return sorted(
        (path for path in (tmp_path / "data").glob("**/blobs/sha256/*/*/data")),
        key=lambda each: each.stat().st_size,
    )


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damaged_layers_are_not_used(
    runner: BuildEnv, other: BuildEnv, hub: Registry, tmp_path: Path, damage: str
) -> None:
    cache = f"{hub.host}/cache"
    good(build(runner, cache))
    largest = blobs_of(tmp_path)[-1]
    content = bytearray(largest.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        largest.write_bytes(content)
    elif damage == "cut":
        largest.write_bytes(content[: len(content) // 2])
    else:
        largest.unlink()
    said = good(build(other, cache))
    assert "warning: the cache" in said.err
    assert other.run("buildah", "images", "--quiet").code == 0
    image = said.out.strip()
    assert "etc/three" in tree(other.tree(image))


def test_an_entry_under_another_key_is_not_used(runner: BuildEnv, other: BuildEnv, hub: Registry) -> None:
    """Somebody moved a valid manifest under the key of another layer: it is not what it says."""
    cache = f"{hub.host}/cache"
    layers = plan(runner, cache)
    good(build(runner, cache, "one"))
    repository = parse_repository(cache)
    body = api.read_manifest(repository.tagged(f"k-{layers[1]['key']}"))
    api.push_manifest(
        repository.tagged(f"k-{layers[-1]['key']}"), body, "application/vnd.oci.image.manifest.v1+json"
    )
    said = good(build(other, cache))
    assert "is something else" in said.err
    assert "three" in tree(other.tree(said.out.strip()))


@pytest.mark.parametrize("how", ["gzip", "none", "zstd"])
def test_compressions(runner: BuildEnv, other: BuildEnv, hub: Registry, how: str) -> None:
    cache = f"{hub.host}/cache"
    good(runner.run("dibo", "build", "--no-base", "--cache-to", cache, "--layer-compression", how, "one"))
    repository = parse_repository(cache)
    found = read_entry(repository, keys(repository)[0])
    ending = {"gzip": "+gzip", "none": ".tar", "zstd": "+zstd"}[how]
    assert all(layer.media_type.endswith(ending) for layer in found.image.layers)
    verify(repository)
    said = good(other.run("dibo", "build", "--no-base", "--cache-from", cache, "one", "two"))
    assert "one install.d: 10-one from" in said.err
    assert len(keys(repository)) == 3, "nothing is stored in what is only read"


def test_refresh_builds_and_stores_anew(runner: BuildEnv, hub: Registry) -> None:
    cache = f"{hub.host}/cache"
    good(build(runner, cache, "one"))
    repository = parse_repository(cache)
    (before,) = [key for key in keys(repository) if "10-one" in read_entry(repository, key).title]
    digest = api.head(repository.tagged(f"k-{before}"))
    said = good(build(runner, cache, "--refresh", "one"))
    assert "[1/2] one" in said.err
    assert api.head(repository.tagged(f"k-{before}")) != digest
    verify(repository)


def test_other_architectures_are_not_used(runner: BuildEnv, other: BuildEnv, hub: Registry) -> None:
    """An entry whose config says another architecture than its key."""
    cache = f"{hub.host}/cache"
    good(build(runner, cache, "one"))
    repository = parse_repository(cache)
    for key in keys(repository):
        found = read_entry(repository, key)
        config = json.dumps({**found.image.config, "architecture": "arm64"}).encode()
        descriptor = hub.push_blob("cache", config)
        descriptor["mediaType"] = "application/vnd.oci.image.config.v1+json"
        hub.push("cache", f"k-{key}", {**found.manifest, "config": descriptor}, OCI_MANIFEST)
    said = good(build(other, cache, "one"))
    assert "is for arm64" in said.err
    assert "[1/2] one" in said.err

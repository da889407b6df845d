"""Commands about caches, on a real registry: why, list, prune, verify, push; and a machine without an engine."""

from __future__ import annotations

import json
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo import errors
from dibo.images.image import Image
from dibo.images.reference import parse_image_name, parse_repository
from dibo.images.registry import api
from dibo.images.sources.registry import registry_image
from dibo.images.verify import check
from tests.integration.test_cache import SH, STACK, build, good, grep, keys, who, write
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, CommandResult, build_env
from tests.support.requirements import need
from tests.support.servers.counting_proxy import CountingProxy
from tests.support.servers.registry import Registry
from tests.support.servers.registry import registry as registry_at

pytestmark = pytest.mark.integration
__all__ = ["who"]


@pytest.fixture(scope="module")
def place(who: pwd.struct_passwd) -> Iterator[BuildEnv]:
    """A runner with its layers in its store."""
    with build_env(who) as made:
        write(made)
        good(made.run("dibo", "build", "--no-base", *STACK))
        yield made
        assert made.left() == []


@pytest.fixture(scope="module")
def empty(who: pwd.struct_passwd, place: BuildEnv) -> Iterator[BuildEnv]:
    """A runner with nothing but the same flavours and base, on a machine without buildah."""
    with build_env(who) as made:
        write(made)
        shutil.copyfile(place.directory / "base.tar", made.directory / "base.tar")
        programs = made.directory / "bin"
        programs.mkdir()
        for name in ("env", "sh"):
            (programs / name).symlink_to(shutil.which(name) or f"/bin/{name}")
        made.environment |= {"PATH": str(programs), "DOCKER_HOST": "unix:///nowhere/sock"}
        yield made


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def hub(place: BuildEnv, empty: BuildEnv, storage: Path) -> Iterator[Registry]:
    """Layers of the place are there, under /cache."""
    with registry_at(storage, delete=True) as started:
        good(build(place, f"{started.host}/cache"))
        yield started


def why(place: BuildEnv, *arguments: str) -> str:
    return good(place.run("dibo", "why", "--no-base", *arguments)).out


def test_why_nothing_is_missing(place: BuildEnv, hub: Registry) -> None:
    assert "nothing is missing: all 5 layers are kept" in why(place, *STACK)


def test_why_a_changed_file_is(place: BuildEnv, hub: Registry) -> None:
    write_flavour(place.flavours, "two", {"install.d/20-two": SH + "echo changed\n"})
    try:
        said = why(place, *STACK)
    finally:
        write(place)
    assert "two install.d: 20-two\n    most alike: " in said
    assert "in the engine's store\n    files.two: install.d/20-two changed\n" in said
    assert "three install.d: 30-three\n    most alike: " in said
    assert "    only the layer below is another one\n" in said
    assert "5 layers: 2 cached, 3 to build" in said


def test_why_by_the_epoch(place: BuildEnv, hub: Registry) -> None:
    said = why(place, "--epoch", "2027-01", "one")
    assert "epoch: 2026-11 -> 2027-01" in said.replace('"', "")


def test_why_compares_with_the_registry(empty: BuildEnv, hub: Registry) -> None:
    """Where no engine is, and nothing was ever built."""
    write_flavour(empty.flavours, "three", {"install.d/30-three": SH + "echo changed\n"})
    try:
        said = why(empty, "--cache", f"{hub.host}/cache", *STACK)
    finally:
        write(empty)
    assert f"in {hub.host}/cache\n    files.three: install.d/30-three changed" in said


def test_a_machine_without_an_engine_plans(empty: BuildEnv, hub: Registry) -> None:
    said = good(empty.run("dibo", "plan", "--no-base", "--cache", f"{hub.host}/cache", *STACK))
    assert said.out.count(f"(in {hub.host}/cache)") == 5
    assert " 0 to build" in said.out
    assert "epoch         2026-11" in said.out


def test_a_machine_without_an_engine_makes_a_disk(empty: BuildEnv, hub: Registry) -> None:
    target = empty.directory / "out"
    target.mkdir()
    shutil.chown(target, empty.user.pw_uid, empty.user.pw_gid)
    options = ["--no-base", "-t", "raw", "-o", str(target / "x"), "--cache", f"{hub.host}/cache"]
    said = good(empty.run("disk-image-create", *options, *STACK))
    assert "x.raw" in said.out
    assert (target / "x.raw").stat().st_size == 2 << 30


def test_without_an_engine_what_is_missing_is_an_error(empty: BuildEnv, hub: Registry) -> None:
    write_flavour(empty.flavours, "four", {"install.d/40-four": SH + "true\n"})
    said = build(empty, f"{hub.host}/cache", *STACK, "four")
    assert said.code in (errors.ToolMissing.exit_code, errors.EngineError.exit_code)
    assert "Traceback" not in said.err


def cache(place: BuildEnv, action: str, *arguments: str, code: int = 0) -> CommandResult:
    said = place.run("dibo", "cache", action, *arguments)
    assert said.code == code, said.err
    return said


def test_list(empty: BuildEnv, hub: Registry) -> None:
    said = cache(empty, "list", f"{hub.host}/cache").out
    assert "KEY" in said
    assert "three install.d: 30-three" in said
    assert "5 layers, " in said
    found = json.loads(cache(empty, "list", "--json", f"{hub.host}/cache").out)
    three = next(each for each in found["entries"] if each["title"].startswith("three"))
    assert three["size"] > three["unique"] >= 0
    assert found["size"] < sum(each["size"] for each in found["entries"])
    assert "0 layers" in cache(empty, "list", f"{hub.host}/nothing").out


def test_a_reference_with_a_tag_is_refused(empty: BuildEnv, hub: Registry) -> None:
    said = cache(empty, "list", f"{hub.host}/cache:latest", code=errors.UsageError.exit_code)
    assert "expected a repository" in said.err
    assert f"{hub.host}/cache" in said.err


def test_prune(place: BuildEnv, hub: Registry) -> None:
    repository = parse_repository(f"{hub.host}/prune")
    write_flavour(place.flavours, "extra", {"install.d/90-extra": SH + "echo extra > /extra\n"})
    good(build(place, str(repository), "one"))
    good(build(place, str(repository), "one", "extra"))
    assert len(keys(repository)) == 5
    body = api.read_manifest(repository.tagged(f"k-{keys(repository)[0]}"))
    api.push_manifest(repository.tagged("mine"), body, "application/vnd.oci.image.manifest.v1+json")
    options = [
        "--no-base",
        "--base",
        str(place.directory / "base.tar"),
        "--keep-stack",
        "one",
        str(repository),
    ]
    said = cache(place, "prune", *options)
    assert "nothing was removed" in said.err
    assert len(keys(repository)) == 5
    cache(place, "prune", "--yes", "--dry-run", *options, code=2)
    assert len(keys(repository)) == 5
    cache(place, "prune", "--yes", *options)
    left = api.tags(repository)
    assert "mine" in left
    assert 3 <= len(keys(repository)) <= 4, "one's, and what has a tag of somebody's"
    assert "nothing to remove" in cache(place, "prune", "--older-than", "1", str(repository)).out
    said = cache(place, "prune", str(repository), code=errors.UsageError.exit_code)
    assert "expected what to remove" in said.err
    good(place.run("dibo", "cache", "verify", str(repository)))


def test_prune_where_the_registry_deletes_nothing(place: BuildEnv, hub: Registry) -> None:
    with CountingProxy(hub.host) as proxy:
        proxy.refuse = 405
        options = ["--yes", "--no-base", "--keep-stack", "one", f"{proxy.host}/cache"]
        said = cache(place, "prune", *options, code=errors.RegistryError.exit_code)
    assert "remove tags k-*, t-*, r-* and f-*" in said.err


def test_verify(place: BuildEnv, empty: BuildEnv, hub: Registry, storage: Path) -> None:
    good(build(place, f"{hub.host}/damaged", "one"))
    assert "3 layers, all whole" in cache(empty, "verify", f"{hub.host}/damaged").out
    repository = parse_repository(f"{hub.host}/damaged")
    manifests = [api.read_manifest(repository.tagged(f"k-{key}")) for key in keys(repository)]
    digest = json.loads(manifests[0])["layers"][0]["digest"]
    (blob,) = set(storage.glob(f"data/**/blobs/sha256/*/{digest[7:]}/data"))
    kept = blob.read_bytes()
    try:
        blob.write_bytes(kept[:-4] + bytes(4))
        said = cache(empty, "verify", f"{hub.host}/damaged", code=errors.VerificationFailed.exit_code)
    finally:
        blob.write_bytes(kept)
    assert "damaged" in said.err


def pushed(name: str) -> Image:
    """What anybody finds there, with every layer checked."""
    image = registry_image(name, reference=name, architecture="amd64")
    for layer in image.layers:
        check(layer)
    return image


def test_push(place: BuildEnv, hub: Registry) -> None:
    with CountingProxy(hub.host) as proxy:
        name = f"{proxy.host}/images/web:1"
        said = good(place.run("dibo", "build", "--no-base", "--push", name, *STACK))
        assert said.out.startswith(f"{name}@sha256:")
        image = pushed(name)
        assert len(image.layers) == 5
        history = [each["created_by"] for each in image.config["history"]]
        assert history[-2:] == ["dibo: three install.d: 30-three", "dibo: finalise"]
        sent = proxy.sent("PUT")
        proxy.asked.clear()
        options = ["--cache", f"{proxy.host}/cache", "--push", f"{proxy.host}/images/two:1"]
        good(place.run("dibo", "build", "--no-base", *options, *STACK))
        assert proxy.sent("PUT") < 20_000 < sent, "layers that the cache has are taken over"
        pushed(f"{proxy.host}/images/two:1")


def test_push_without_an_engine(empty: BuildEnv, hub: Registry) -> None:
    name = f"{hub.host}/images/three:1"
    options = ["--cache-from", f"{hub.host}/cache", "--push", name]
    good(empty.run("dibo", "build", "--no-base", *options, *STACK))
    assert len(pushed(name).layers) == 5


def test_push_refuses_local_layers(place: BuildEnv, hub: Registry, storage: Path) -> None:
    secret = "bG9jYWwtc2VjcmV0LWtleQ"
    hook = SH + f"mkdir -p /root/.ssh\necho {secret} > /root/.ssh/authorized_keys\n"
    write_flavour(place.flavours, "mine", {"install.d/95-mine": hook}, yaml="local: true\n")
    name = f"{hub.host}/images/mine:1"
    said = place.run("dibo", "build", "--no-base", "--push", name, "one", "mine")
    assert said.code == errors.LocalLayers.exit_code
    assert "--include-local" in said.err
    assert grep(storage, secret) == []
    said = good(place.run("dibo", "build", "--no-base", "--push", name, "--include-local", "one", "mine"))
    assert len(pushed(name).layers) == 4
    assert len(grep(storage, secret)) == 1


def test_push_refuses_what_looks_like_a_secret(place: BuildEnv, hub: Registry) -> None:
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\\nx\\n"
    write_flavour(place.flavours, "leak", {"install.d/95-leak": SH + f"printf '{key}' > /opt-key\n"})
    name = f"{hub.host}/images/leak:1"
    said = place.run("dibo", "build", "--no-base", "--push", name, "one", "leak")
    assert said.code == errors.LocalLayers.exit_code
    assert "/opt-key: a private key" in said.err
    assert api.head(parse_image_name(name)) is None


def test_others_read_what_was_pushed(place: BuildEnv, hub: Registry, tmp_path: Path) -> None:
    need("skopeo")
    name = f"{hub.host}/images/skopeo:1"
    good(place.run("dibo", "build", "--no-base", "--push", name, "one"))
    said = place.run(
        "skopeo", "copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{place.directory}/copied:1"
    )
    assert said.code == 0, said.err

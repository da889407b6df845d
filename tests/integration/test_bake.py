"""A bake with a real engine: what images share is built once, what fails ends only what needs it, and each image is
what it is when it is built alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.errors import SomeFailed
from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.bake_workers import worker_of
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.requirements import need
from tests.support.servers.registry import Registry, registry
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.integration

SH = "#!/bin/sh\nset -eu\n"
COUNT = SH + "echo once > /shared\n"
SHARED = "shared install.d: 10-shared"


@pytest.fixture
def place() -> Iterator[BuildEnv]:
    need("buildah", "newuidmap", "busybox", "setpriv")
    with build_env(user.need_ordinary_user()) as made:
        (made.directory / "out").mkdir(mode=0o777)
        (made.directory / "out").chmod(0o777)
        yield made
        assert made.left() == []


def write_project(place: BuildEnv, *images: str) -> Path:
    """Each image is a flavour of its own on one that they share; `bad` fails."""
    note = SH + f"echo ran >> {place.directory}/out/host-hooks\necho data > $TMP_HOOKS_PATH/data\n"
    write_flavour(place.flavours, "shared", {"install.d/10-shared": COUNT, "extra-data.d/10-note": note})
    for name in images:
        hook = (
            "echo it is broken >&2\nexit 7\n"
            if name == "bad"
            else f"grep -q once /shared\necho {name} > /own\n"
        )
        write_flavour(place.flavours, name, {"install.d/20-own": SH + hook}, yaml="needs: [shared]\n")
    file = place.directory / "dibo.yaml"
    entries = "".join(f"  {name}: {{flavours: [{name}]}}\n" for name in images)
    file.write_text(
        f"defaults: {{types: [raw], size: 0.1, no-base: true, destination: {place.directory}/out}}\n"
        f"images:\n{entries}"
    )
    return file


def events_of(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_images_that_share_layers(place: BuildEnv) -> None:
    project = write_project(place, "a", "b", "bad")
    baked = place.run("dibo", "bake", "--project", project, "-j2", "--json")
    assert baked.code == SomeFailed.exit_code, baked.err
    hooks = (place.directory / "out" / "host-hooks").read_text().splitlines()
    assert len(hooks) == 3, "once for each image"
    document, events = json.loads(baked.out), events_of(baked.err)
    titles = [event["title"] for event in events if event["document"] == "step-started"]
    assert sum(str(title).startswith(SHARED) for title in titles) == 1
    assert sum(str(title).startswith("base ") for title in titles) == 1
    origins = {layer["title"]: (layer["origin"], layer["images"]) for layer in document["layers"]}
    assert origins[SHARED] == ("built", ["a", "b", "bad"])
    assert origins["bad install.d: 20-own"] == (None, ["bad"])
    outcomes = {image["name"]: image["outcome"] for image in document["images"]}
    assert outcomes == {"a": "done", "b": "done", "bad": "failed"}
    error = document["images"][2]["error"]
    assert error["kind"] == "HookFailed"
    assert "20-own" in error["message"]
    assert "exit code 7" in error["message"]
    assert "| it is broken" in error["hint"]
    assert "dibo shell --at failed-" in error["hint"]

    write_project(place, "a", "b")
    again = place.run("dibo", "bake", "--project", project, "--verbose")
    assert again.code == 0, again.err
    assert "dibo.api.baking.worker" not in again.err, "artefacts that stand need no worker"
    assert "2 images: 2 done; 0 layers built" in again.err
    (place.directory / "out" / "a.raw").touch()
    again = place.run("dibo", "bake", "--project", project, "--verbose")
    assert again.err.count("dibo.api.baking.worker") == 1, again.err
    assert "2 images: 2 done; 0 layers built" in again.err
    elsewhere = place.directory / "not-there"
    dry = place.run("dibo", "bake", "--project", project, "--dry-run", "-o", elsewhere)
    assert f"a: raw  {elsewhere}/a" in dry.out, dry.err
    assert "2 images, 0 layers to build" in dry.out
    assert not elsewhere.exists()
    for name in ("a", "b"):
        alone = place.run(
            "disk-image-create",
            *("--no-base", "-o", place.directory / "out" / f"alone-{name}", "-t", "raw"),
            *("--image-size", "0.1", name),
        )
        assert alone.code == 0, alone.err
        made = {
            path: (place.directory / "out" / path).read_bytes()
            for path in (f"{name}.raw", f"alone-{name}.raw")
        }
        assert len(set(made.values())) == 1


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_or_the_command_ends_in_the_middle_of_a_layer(place: BuildEnv, signum: int) -> None:
    """With SIGTERM the whole command; with SIGKILL a worker. Nothing is left, and images of others are made."""
    project = write_project(place, "a", "b")
    write_flavour(
        place.flavours, "a", {"install.d/20-own": SH + "echo slow\nsleep 300\n"}, yaml="needs: [shared]\n"
    )
    child = place.start("dibo", "bake", "--project", project, "-j1", "-x")
    assert child.stderr is not None
    worker = 0
    for line in child.stderr:
        if line.strip() == "slow":
            worker = worker_of(child.pid)
            break
    if signum == signal.SIGTERM:
        child.terminate()
    else:
        os.kill(worker, signal.SIGKILL)
    text = child.stderr.read()
    code = child.wait(TIMEOUT)
    if signum == signal.SIGTERM:
        assert code == 128 + signal.SIGTERM, text
        assert text.endswith("nothing was left behind\n")
    else:
        assert code == SomeFailed.exit_code, text
        assert "was killed by SIGKILL" in text
        assert (place.directory / "out" / "b.raw").exists()


TOKEN = "tok-77d1c3-of-a-project"
SECRETS = """\
defaults:
  types: [tar]
  no-base: true
  destination: {directory}/out
  cache: {host}/cache
images:
  by-name: {{flavours: [by-name], secrets: [token]}}
  by-place: {{flavours: [by-place], secrets: {{token: "env:A_TOKEN", file: secret-file}}}}
"""
READS = SH + '[ "$(cat /run/secrets/token)" = "$(echo dG9rLTc3ZDFjMy1vZi1hLXByb2plY3Q= | base64 -d)" ]\n'
READS_FILE = SH + '[ "$(cat /run/secrets/file)" = value-of-a-file ]\n'


def write_secretive(place: BuildEnv, hub: Registry) -> Path:
    write_flavour(place.flavours, "by-name", {"install.d/10-reads": READS}, yaml="secrets: [token]\n")
    write_flavour(
        place.flavours,
        "by-place",
        {"install.d/10-reads": READS_FILE},
        yaml="needs: [by-name]\nsecrets: [file]\n",
    )
    (place.directory / "secret-file").write_text("value-of-a-file")
    file = place.directory / "dibo.yaml"
    file.write_text(SECRETS.format(directory=place.directory, host=hub.host))
    return file


@pytest.fixture
def other(place: BuildEnv) -> Iterator[BuildEnv]:
    """Another machine, with the same base and an empty store."""
    with build_env(user.need_ordinary_user()) as made:
        shutil.copyfile(place.directory / "base.tar", made.directory / "base.tar")
        (made.directory / "out").mkdir()
        shutil.chown(made.directory / "out", made.user.pw_uid, made.user.pw_gid)
        yield made
        assert made.left() == []


def test_secrets_of_a_project_and_a_cache_in_a_registry(
    place: BuildEnv, other: BuildEnv, tmp_path: Path
) -> None:
    """One machine builds with the secrets; another has all layers from the registry, and no secret."""
    with registry(tmp_path) as hub:
        project = write_secretive(place, hub)
        missing = place.run("dibo", "bake", "--project", project, "by-name")
        assert missing.code == SomeFailed.exit_code
        assert "by-name: planning: a secret is missing: 'token' (of the flavour 'by-name')" in missing.err
        given = ("--secret", "token=env:A_TOKEN", "--json")
        baked = place.run("dibo", "bake", "--project", project, *given, "-x", environment={"A_TOKEN": TOKEN})
        assert baked.code == 0, baked.err
        document = json.loads(baked.out)
        assert {layer["origin"] for layer in document["layers"]} == {"built"}
        assert TOKEN not in baked.out + baked.err

        again = other.run(
            "dibo", "bake", "--project", write_secretive(other, hub), *given, environment={"A_TOKEN": TOKEN}
        )
        assert again.code == 0, again.err
        origins = {
            layer["title"]: (layer["origin"], layer["registry"]) for layer in json.loads(again.out)["layers"]
        }
        assert {registry for _, registry in origins.values()} == {f"{hub.host}/cache"}, origins
        for name in ("by-name", "by-place"):
            tars = [(env.directory / "out" / f"{name}.tar").read_bytes() for env in (place, other)]
            assert tars[0] == tars[1]
            assert TOKEN.encode() not in tars[0]

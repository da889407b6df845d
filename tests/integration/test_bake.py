"""A bake with a real engine: what images share is built once, what fails ends only what needs it, and each image is
what it is when it is built alone."""

from __future__ import annotations

import json
import os
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


def test_a_plan_of_all_images_asks_the_engine_once(place: BuildEnv) -> None:
    project = write_project(place, "a", "b", "c")
    planned = place.run("dibo", "plan", "--project", project, "-x")
    assert [line.split()[0] for line in planned.out.splitlines()] == ["a", "b", "c"]
    assert planned.err.count("+ buildah info") == 1

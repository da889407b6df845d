"""Layers in a registry are exchanged between engines: what buildah stored docker goes on from, and the other way
round."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, CommandResult
from tests.support.host.docker_build_env import (
    LAYER,
    config_of,
    differences,
    ok,
    run,
    tree_of_buildah,
    tree_of_docker,
)
from tests.support.images.tree_entries import walk
from tests.support.servers.dockerd import Docker
from tests.support.servers.registry import registry

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_is_left_with_docker")]

SH = "#!/bin/sh\nset -eu\n"
ENGINES = ("buildah", "docker")


def build(place: BuildEnv, engine: str, cache: str, name: str, compression: str) -> CommandResult:
    options = ["--no-base", "--cache", cache, "--layer-compression", compression, "--engine", engine]
    return place.run("dibo", "build", *options, name)


def plan(place: BuildEnv, engine: str, cache: str, name: str) -> str:
    return ok(place.run("dibo", "plan", "--no-base", "--engine", engine, "--cache", cache, name))


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
@pytest.mark.parametrize(("first", "second"), [ENGINES, ENGINES[::-1]])
def test_one_engine_goes_on_from_the_other_s_layers(
    place: BuildEnv, daemon: Docker, tmp_path: Path, first: str, second: str, compression: str
) -> None:
    """Also where a layer takes away what is below it; layers made by one are the same trees at the other."""
    lower, upper = f"lower-{first}-{compression}", f"upper-{first}-{compression}"
    make = "head -c 200000 /dev/urandom > /random; mkdir /d; echo old > /d/old; ln /random /d/link\n"
    write_flavour(place.flavours, lower, {"install.d/10-lower": SH + make})
    write_flavour(
        place.flavours,
        upper,
        {"install.d/20-upper": SH + "rm -r /d; mkdir /d; echo new > /d/new; ln -s /random /d/link\n"},
        yaml=f"needs: [{lower}]\n",
    )
    with registry(tmp_path) as server:
        cache = f"{server.host}/cache"
        begun = int(time.time())
        said = build(place, first, cache, upper, compression)
        ok(said)
        assert f"in {cache}" in said.err, said.err
        assert " 0 to build" in plan(place, second, cache, upper)
        image = ok(build(place, second, cache, upper, compression))
        lowest = json.loads(ok(place.run("dibo", "plan", "--json", "--no-base", upper)))["layers"][1]["key"]
        write_flavour(
            place.flavours,
            f"{upper}-more",
            {"install.d/30-more": SH + "cat /d/new > /more\n"},
            yaml=f"needs: [{upper}]\n",
        )
        said = build(place, second, cache, f"{upper}-more", compression)
        ok(said)
        assert f"] {upper} install.d" not in said.err
        assert f"] {lower} install.d" not in said.err
    ours, theirs = (
        walk(tree_of_docker(daemon, image, tmp_path)),
        walk(tree_of_buildah(place, image, tmp_path)),
    )
    assert differences(ours, theirs, young=begun) == []
    assert ours[b"random"].content == theirs[b"random"].content
    if second == "docker":  # which takes the image, not the images below it
        names = run("docker", "-H", daemon.host, "images", "--format", "{{.Tag}}", LAYER).split()
        assert f"k-{lowest}" not in names
        labels = config_of(daemon, image)["Config"]["Labels"]
        assert labels["io.dibo.key"] == image.partition(":k-")[2]

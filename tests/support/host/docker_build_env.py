"""A build environment with a docker daemon, and questions to both (host/build_env.py, servers/dockerd.py)."""

from __future__ import annotations

import contextlib
import grp
import pwd
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.host.build_env import BuildEnv, CommandResult, build_env
from tests.support.images.tree_entries import Tree
from tests.support.requirements import need
from tests.support.servers.dockerd import Docker, dockerd

LAYER = "localhost/dibo/layer"
_TOUCHED = (b"etc", b"run", b"tmp", b"tmp/in_target.d")
"""What is made to mount over, and what that is in: with buildah this leaves no time, with docker that of the step."""


@contextlib.contextmanager
def docker_build_env(who: pwd.struct_passwd) -> Iterator[tuple[BuildEnv, Docker]]:
    """Both; what `who` runs in the environment builds with docker, unless it is told otherwise."""
    need("buildah", "newuidmap", "busybox", "setpriv", "dockerd", "docker")
    with build_env(who) as place, dockerd(group=grp.getgrgid(who.pw_gid).gr_name) as daemon:
        place.environment |= {"DOCKER_HOST": daemon.host, "DIBO_ENGINE": "docker"}
        yield place, daemon


def things(daemon: Docker) -> list[str]:
    """What a command should not have left with the daemon: containers, volumes, images without a good name."""
    client = daemon.client()
    try:
        found = [each.name for each in client.containers.list(all=True)]
        found += [each.name for each in client.volumes.list()]
        images = client.images.list(all=True)
        return found + [str(each.id) for each in images if not each.tags or "unfinished" in str(each.tags)]
    finally:
        client.close()


def ok(said: CommandResult) -> str:
    assert said.code == 0, said.err
    return said.out.strip()


def tree_of_docker(daemon: Docker, image: str, directory: Path) -> Path:
    """An image unpacked by umoci, with the ids that it has."""
    need("skopeo", "umoci")
    saved, layout, bundle = directory / "saved.tar", directory / "layout", directory / "bundle"
    run(*docker(daemon), "save", "-o", saved, image)
    run("skopeo", "copy", "--quiet", f"docker-archive:{saved}", f"oci:{layout}:it")
    run("umoci", "unpack", "--image", f"{layout}:it", bundle)
    return bundle / "rootfs"


def tree_of_buildah(place: BuildEnv, image: str, directory: Path) -> Path:
    target = directory / "buildah"
    target.mkdir()
    tar = place.tree(image)
    run("tar", "-C", target, "--numeric-owner", "-p", "--xattrs", "--xattrs-include=*", "-xf", tar)
    return target


def docker(daemon: Docker) -> list[str]:
    return ["docker", "-H", daemon.host]


def run(*argv: str | Path, code: int = 0) -> str:
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout


def config_of(daemon: Docker, image: str) -> dict[str, Any]:
    client = daemon.client()
    try:
        return dict(client.api.inspect_image(image))
    finally:
        client.close()


def differences(ours: Tree, theirs: Tree, *, young: int) -> list[str]:
    """Where two trees differ, times from `young` on aside: what a build makes it makes when it runs. buildah's own
    storage makes the root 0555; and rootless overlay leaves marks of its own in layers."""

    def told(tree: Tree) -> Tree:
        return {
            name: replace(
                entry,
                allocated=0,
                xattrs=tuple(each for each in entry.xattrs if not each[0].startswith("user.overlay.")),
                mtime=0 if entry.mtime >= young * 10**9 or name in _TOUCHED else entry.mtime // 10**9,
            )
            for name, entry in tree.items()
            if name != b""
        }

    mine, other = told(ours), told(theirs)
    return [
        f"{name!r}: {mine.get(name)} {other.get(name)}"
        for name in sorted(mine.keys() | other.keys())
        if mine.get(name) != other.get(name)
    ]

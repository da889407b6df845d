"""The docker engine and images: bases of every kind become the layer that buildah makes of them; layers go in and
out; daemons that store images in another way, or are reached by ssh."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.build.engines.docker.store import DockerStore
from dibo.errors import VerificationFailed
from dibo.images.layers.limits import Limits
from dibo.images.layers.stream import Stream
from dibo.images.sources.choose import choose_image
from dibo.system.docker_api import Daemon, connected
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv
from tests.support.host.docker_build_env import (
    LAYER,
    config_of,
    differences,
    docker,
    ok,
    run,
    tree_of_buildah,
    tree_of_docker,
)
from tests.support.images.oci_layouts import LayerTar, OciLayout, Tar, simple
from tests.support.images.tree_entries import walk
from tests.support.requirements import need
from tests.support.servers.dockerd import Docker
from tests.support.servers.registry import registry
from tests.support.servers.sshd import sshd

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("nothing_is_left_with_docker"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can set this up"),
]

SH = "#!/bin/sh\n"
CAPABILITY = struct.pack(
    "<5I", 0x02000001, 1 << 10, 0, 0, 0
)  # linux/capability.h: VFS_CAP_REVISION_2, effective


def write_flavours(directory: Path) -> None:
    write_flavour(directory, "one", {"install.d/10-one": SH + "echo one > /one\n"})
    two = SH + "rm /one; echo two > /two\n"
    write_flavour(directory, "two", {"install.d/20-two": two}, yaml="needs: [one]\n")


@pytest.fixture
def connection(daemon: Docker, tmp_path: Path) -> Iterator[Daemon]:
    with connected(scratch=tmp_path, host=daemon.host) as made:
        yield made


@pytest.fixture(scope="module")
def furnished(both: tuple[BuildEnv, Docker]) -> Path:
    """The base with what bases have: devices, systemd-resolved, capabilities, holes, names of every length."""
    directory = both[0].directory / "furnished"
    directory.mkdir()
    run("tar", "-C", directory, "-xpf", both[0].directory / "base.tar")
    run("mknod", directory / "dev" / "null", "c", "1", "3")
    (directory / "usr" / "lib" / "dhcpcd" / "dev").mkdir(parents=True)
    (directory / "usr" / "lib" / "dhcpcd" / "dev" / "udev.so").write_text("in another dev\n")
    resolved = directory / "usr" / "lib" / "systemd" / "systemd-resolved"
    resolved.parent.mkdir()
    resolved.write_text("#!/bin/sh\n")
    resolved.chmod(0o755)
    (directory / "etc" / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    (directory / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (directory / "bin" / "capable").write_bytes(b"capable")
    os.setxattr(directory / "bin" / "capable", "security.capability", CAPABILITY)
    os.link(directory / "bin" / "capable", directory / "bin" / "capable-too")
    with (directory / "holes").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"data")
    (directory / ("long-" * 40)).write_text("long")
    (directory / "größe").symlink_to("bin/ping")
    os.chown(directory / "größe", 70_000 % 65_536, 12, follow_symlinks=False)
    directory.chmod(0o700)
    time.sleep(1)
    target = both[0].directory / "furnished.tar"
    run("tar", "-C", directory, "--format=pax", "--sparse", "--numeric-owner", "--xattrs", "-cf", target, ".")
    shutil.rmtree(directory)
    return target


def same_base(place: BuildEnv, daemon: Docker, base: str | Path, directory: Path) -> str:
    """Both engines make the same layer of a base; its key."""
    begun = int(time.time()) + 1
    time.sleep(1)
    options = ["--no-base", "--epoch", f"at-{begun}", "--base", base, "one"]
    for engine in ("docker", "buildah"):
        ok(place.run("dibo", "build", "--engine", engine, *options))
    plan = ok(place.run("dibo", "plan", "--json", *options))
    key = str(json.loads(plan)["layers"][0]["key"])
    for number, layer in enumerate(json.loads(plan)["layers"]):
        image = f"{LAYER}:k-{layer['key']}"
        where = directory / str(number)
        where.mkdir()
        ours, theirs = walk(tree_of_docker(daemon, image, where)), walk(tree_of_buildah(place, image, where))
        assert differences(ours, theirs, young=begun) == []
    return key


@pytest.mark.parametrize("program", ["", "gzip", "xz", "zstd", "bzip2"])
def test_a_tar(place: BuildEnv, daemon: Docker, furnished: Path, tmp_path: Path, program: str) -> None:
    base = furnished
    if program:
        need(program)
        base = place.directory / f"furnished.tar.{program}"
        base.write_bytes(run_bytes(program, "-1", "-c", furnished))
    key = same_base(place, daemon, base, tmp_path)
    root = tmp_path / "0" / "bundle" / "rootfs"
    assert list((root / "dev").iterdir()) == []
    assert (root / "usr" / "lib" / "dhcpcd" / "dev" / "udev.so").is_file()
    assert (root / "etc" / "resolv.conf").read_text() == "nameserver 192.0.2.1\n"
    assert os.getxattr(root / "bin" / "capable", "security.capability") == CAPABILITY
    place.forget(key)
    run("docker", "-H", daemon.host, "rmi", f"{LAYER}:k-{key}")


def run_bytes(*argv: str | Path) -> bytes:
    import subprocess

    return subprocess.run(argv, capture_output=True, check=True).stdout


def test_a_squashfs(place: BuildEnv, daemon: Docker, tmp_path: Path) -> None:
    need("mksquashfs", "sqfs2tar", "unsquashfs")
    root, base = tmp_path / "root", place.directory / "base.squashfs"
    root.mkdir()
    run("tar", "-C", root, "-xpf", place.directory / "base.tar")
    run("mksquashfs", root, base, "-quiet", "-no-progress")
    same_base(place, daemon, base, tmp_path)


def test_a_tar_that_is_cut_short(place: BuildEnv, furnished: Path) -> None:
    base = place.directory / "short.tar"
    base.write_bytes(furnished.read_bytes()[:-1_000_000])
    said = place.run("dibo", "build", "--no-base", "--base", base, "one")
    assert said.code == 30
    assert "the base is no tar that can be read" in said.err


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_an_oci_layout(place: BuildEnv, daemon: Docker, tmp_path: Path, compression: str) -> None:
    """Docker 20.10 knows no zstd, and no layouts at all."""
    tar = LayerTar(tar=place.directory / "base.tar", compression=compression)
    layout = simple(place.directory / f"layout-{compression}", [tar])
    same_base(place, daemon, f"oci:{layout}", tmp_path)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_an_image_in_a_registry(place: BuildEnv, daemon: Docker, tmp_path: Path, compression: str) -> None:
    """What the daemon cannot pull, dibo sends to it."""
    need("skopeo", "docker-registry")
    layout = simple(
        tmp_path / "layout", [LayerTar(tar=place.directory / "base.tar", compression=compression)]
    )
    storage = tmp_path / "registry"
    storage.mkdir()
    with registry(storage) as server:
        run(
            "skopeo",
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            f"oci:{layout}",
            f"docker://{server.host}/base:1",
        )
        key = same_base(place, daemon, f"{server.host}/base:1", tmp_path)
    known = config_of(daemon, f"{LAYER}:k-{key}")
    assert known["RepoTags"] == [f"{LAYER}:k-{key}"]
    assert known["RepoDigests"] == []


def test_another_architecture_from_a_tar(place: BuildEnv, daemon: Docker) -> None:
    """Images are for the architecture that was asked for, not for the daemon's."""
    options = ["--no-base", "-a", "i386", "--epoch", "i386"]
    ok(place.run("dibo", "build", *options, "one"))
    for layer in json.loads(ok(place.run("dibo", "plan", "--json", *options, "one")))["layers"]:
        known = config_of(daemon, f"{LAYER}:k-{layer['key']}")
        assert (known["Architecture"], known["Os"]) == ("386", "linux")


def test_another_architecture_from_a_registry(place: BuildEnv, daemon: Docker, tmp_path: Path) -> None:
    """Of an image for several, that one counts, though the daemon would pull its own."""
    need("skopeo", "docker-registry")
    layout = OciLayout(tmp_path / "layout")
    images = []
    for architecture in ("amd64", "386"):
        mark = Tar(tmp_path / f"{architecture}.tar")
        mark.add("etc/is-for", architecture.encode())
        layers = [LayerTar(tar=place.directory / "base.tar"), LayerTar(tar=mark.close())]
        platform = {"platform": {"os": "linux", "architecture": architecture}}
        images.append(layout.image(layers, architecture=architecture) | platform)
    layout.write_index({"1": layout.index(images)})
    (tmp_path / "registry").mkdir()
    with registry(tmp_path / "registry") as server:
        name = f"{server.host}/base:1"
        copy = ("skopeo", "copy", "--quiet", "--all", "--dest-tls-verify=false")
        run(*copy, f"oci:{layout.directory}:1", f"docker://{name}")
        run(*docker(daemon), "pull", "--quiet", name)
        before = config_of(daemon, name)["Id"]
        options = ["--no-base", "-a", "i386", "--base", name, "--epoch", "several"]
        image = ok(place.run("dibo", "build", *options, "one"))
    known = config_of(daemon, image)
    assert known["Architecture"] == "386"
    (tmp_path / "tree").mkdir()
    assert (tree_of_docker(daemon, image, tmp_path / "tree") / "etc" / "is-for").read_text() == "386"
    assert config_of(daemon, name)["Id"] == before, "the user's own image keeps its name"
    run(*docker(daemon), "rmi", name)


# Layers that come and go


def test_layers_of_buildah_are_taken(
    place: BuildEnv, daemon: Docker, connection: Daemon, tmp_path: Path
) -> None:
    ok(place.run("dibo", "build", "--no-base", "one"))
    image = ok(place.run("dibo", "build", "--no-base", "--engine", "buildah", "two"))
    layout = place.directory / "pushed"
    ok(place.run("buildah", "push", "--quiet", image, f"oci:{layout}:it"))
    with choose_image(f"oci:{layout}", architecture="amd64", scratch=tmp_path) as found:
        DockerStore(connection, tmp_path).take(found, config=dict(found.config), name=image)
    plan = ok(place.run("dibo", "plan", "--no-base", "two"))
    assert " 0 to build" in plan, plan
    assert (
        ok(place.run("dibo", "shell", "--no-base", "two", "--run", "cat /two; ls /one || echo gone"))
        == "two\ngone"
    )


def test_a_layer_with_wrong_bytes_is_not_taken(
    place: BuildEnv, daemon: Docker, connection: Daemon, tmp_path: Path
) -> None:
    tar = Tar(tmp_path / "new.tar")
    tar.add("file", b"right" * 1000)
    tar.close()
    layout = simple(tmp_path / "layout", [LayerTar(tar=tmp_path / "new.tar", compression="none")])
    digest = hashlib.sha256((tmp_path / "new.tar").read_bytes()).hexdigest()
    with (layout / "blobs" / "sha256" / digest).open("r+b") as file:
        file.seek(600)
        file.write(b"WRONG")
    name = f"{LAYER}:k-{'0' * 64}"
    with (
        choose_image(f"oci:{layout}", architecture="amd64", scratch=tmp_path) as found,
        pytest.raises(VerificationFailed),
    ):
        DockerStore(connection, tmp_path).take(found, config=dict(found.config), name=name)
    assert connection.identity(name) is None


def test_layers_are_handed_out(place: BuildEnv, daemon: Docker, connection: Daemon, tmp_path: Path) -> None:
    name = ok(place.run("dibo", "build", "--no-base", "two"))
    image = DockerStore(connection, tmp_path).image(name)
    assert image.architecture == "amd64"
    assert image.config["config"]["Labels"]["io.dibo.key"] in name
    for layer in reversed(image.layers):
        with Stream(layer, limits=Limits()) as stream:  # checks the digest
            while stream.next() is not None:
                pass
    assert list(tmp_path.iterdir()) == []


def test_a_daemon_with_containerd_s_store(
    place: BuildEnv, daemon: Docker, connection: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a daemon wants all layers. Docker 20.10 is none, but takes what is sent to one."""
    name = ok(place.run("dibo", "build", "--no-base", "two"))
    known = connection.inspect(name)
    monkeypatch.setattr(Daemon, "has_containerd_store", lambda _: True)
    run("docker", "-H", daemon.host, "tag", name, "localhost/copy")
    ok(place.run("dibo", "build", "--no-base", "one"))
    DockerStore(connection, tmp_path).name(known, "localhost/whole:1", {"io.dibo.key": "other"})
    made = connection.inspect("localhost/whole:1")
    assert made["RootFS"] == known["RootFS"]
    assert made["Config"]["Labels"]["io.dibo.key"] == "other"
    run("docker", "-H", daemon.host, "rmi", "localhost/whole:1", "localhost/copy")


# Daemons behind ssh


def test_ssh(place: BuildEnv, daemon: Docker) -> None:
    directory = place.directory / "ssh"
    directory.mkdir()
    with sshd(directory, owner=place.user.pw_uid) as (port, programs):
        path = f"{programs}:{place.environment['PATH']}"
        host = f"ssh://root@127.0.0.1:{port}{daemon.host.removeprefix('unix://')}"
        elsewhere = {"PATH": path, "DOCKER_HOST": host}
        name = ok(place.run("dibo", "build", "--no-base", "--refresh", "two", environment=elsewhere))
        assert config_of(daemon, name)
        assert (
            place.run("dibo", "shell", "--no-base", "two", "--run", "exit 9", environment=elsewhere).code == 9
        )
        nobody = {"PATH": path, "DOCKER_HOST": f"ssh://root@127.0.0.1:{port}/nowhere/sock"}
        said = place.run("dibo", "build", "--no-base", "two", environment=nobody)
        assert said.code == 40, said.err
        assert "though ssh can log in there" in said.err
        stranger = {
            "PATH": path,
            "DOCKER_HOST": f"ssh://root@localhost:{port}",
        }  # a name that ssh does not know
        said = place.run("dibo", "build", "--no-base", "two", environment=stranger)
        assert said.code == 40, said.err
        assert f"cannot reach the docker daemon at ssh://root@localhost:{port}: Host key" in said.err

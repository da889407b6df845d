"""One image, copied by real tools to wherever images can be, and read from there: the same layers come out.

The image is buildah's, with what a step leaves: whiteouts, a replaced directory, hard links, a setuid file.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dibo.errors import EngineError, ImageError
from dibo.images.sources import containers_storage
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.host.host_state import host_state, new_on_host
from tests.support.host.installed_dibo import installed_dibo
from tests.support.images import read_image as readimage
from tests.support.images.read_image import read_image
from tests.support.requirements import need
from tests.support.servers.dockerd import Docker, dockerd
from tests.support.servers.registry import registry
from tests.support.user import ordinary_user

pytestmark = pytest.mark.integration

NAME = "localhost/web:1"
GZIP, ZSTD = "1f8b", "28b52ffd"
BUILD = r"""
set -e
a=$(buildah from scratch); buildah add -q $a "$1" /; buildah commit -q $a localhost/low; buildah rm $a
b=$(buildah from localhost/low)
buildah run $b sh -c 'cd /; rm etc/group; rm -r var/log; echo log > var/log; mkdir -p a/b; echo 1 > a/b/c; ln a/b/c d
  dd if=/dev/urandom of=big bs=1M count=3; cp bin/busybox suid; chmod 4755 suid; ln -s /a/b link; chown 33:33 a/b/c
  printf x > "a/b/$(printf "not\377utf8")"; mkdir tree; echo x > tree/x'
buildah commit -q $b localhost/middle; buildah rm $b
c=$(buildah from localhost/middle)
buildah run $c sh -c 'rm -r tree; mkdir tree; echo y > tree/y; mv link linked; touch a/b/c'
buildah commit -q --format oci $c localhost/web:1
buildah commit -q --format docker $c localhost/web:docker
buildah rm $c
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    build_env: BuildEnv
    layouts: dict[str, Path]
    """By the kind of manifest: oci, docker (in a directory of skopeo's)."""
    diff_ids: list[str]
    ids: list[str]
    """Digests of their configs."""


@pytest.fixture(scope="module")
def made() -> Iterator[Made]:
    """The image, in the store of an ordinary user, and pushed out of it."""
    need("buildah", "skopeo", "busybox")
    with build_env(ordinary_user()) as where:
        yield _make(where)


def _make(where: BuildEnv) -> Made:
    base = where.directory / "base.tar"
    said = where.run("bash", "-c", BUILD, "bash", base, environment={"BUILDAH_ISOLATION": "chroot"})
    assert said.code == 0, said.err
    out = where.directory / "data" / "out"
    out.mkdir()
    shutil.chown(out, where.user.pw_uid, where.user.pw_gid)
    layouts = {"oci": out / "oci", "docker": out / "docker"}
    for source, target in ((NAME, f"oci:{out}/oci:1"), ("localhost/web:docker", f"dir:{out}/docker")):
        said = where.run("buildah", "push", "-q", source, target)
        assert said.code == 0, said.err
    document = json.loads(where.run("buildah", "inspect", "--type", "image", NAME).out)
    listed = json.loads(where.run("buildah", "images", "--json", "--no-trunc").out)
    return Made(
        build_env=where,
        layouts=layouts,
        diff_ids=document["OCIv1"]["rootfs"]["diff_ids"],
        ids=[each["id"] for each in listed],
    )


def copy(source: str, target: str, *options: str) -> None:
    argv = ["skopeo", "--insecure-policy", "copy", "-q", *options, source, target]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def inspected(source: str, *options: str) -> str:
    done = subprocess.run(["skopeo", "inspect", *options, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def check(
    read: dict[str, Any],
    made: Made,
    *,
    starts: str | None = None,
    digests: bool = True,
    same_config: bool = True,
) -> None:
    """The layers are those that were made, and are what the source says they are."""
    layers = read["layers"]
    assert [layer["came"]["diff_id"] for layer in layers] == made.diff_ids
    assert [layer["said"]["diff_id"] for layer in layers] == made.diff_ids
    assert [layer["said"]["size"] for layer in layers] == [layer["came"]["size"] for layer in layers]
    wanted = [layer["came"]["digest"] if digests else None for layer in layers]
    assert [layer["said"]["digest"] for layer in layers] == wanted
    if starts is not None:
        assert all(layer["starts"].startswith(starts) for layer in layers), layers
    assert read["architecture"] == "amd64"
    assert (read["digest"] in made.ids) == same_config


@pytest.mark.parametrize("kind", ["oci", "docker"])
@pytest.mark.parametrize(
    ("target", "options", "starts"),
    [
        ("oci:{}:t", (), GZIP),
        ("oci:{}:t", ("--dest-compress-format=zstd", "--dest-compress"), ZSTD),
        ("dir:{}", (), GZIP),
        ("dir:{}", ("--dest-decompress",), ""),
        ("oci-archive:{}:t", (), GZIP),
        ("docker-archive:{}:web:1", (), ""),
    ],
)
def test_copies(
    made: Made, tmp_path: Path, kind: str, target: str, options: tuple[str, ...], starts: str
) -> None:
    source = f"oci:{made.layouts['oci']}:1" if kind == "oci" else f"dir:{made.layouts['docker']}"
    reference = target.format(tmp_path / "x")
    if kind == "oci" and "dir:" in target:
        options = (*options, "--format=oci")
    copy(source, reference, *options)
    check(
        read_image(reference, tmp_path),
        made,
        starts=starts,
        digests=not reference.startswith("docker-archive"),
        same_config=not (kind == "docker" and reference.startswith("oci")),  # skopeo writes OCI's fields anew
    )
    if "archive" in target:
        with (tmp_path / "x").open("rb") as plain, (tmp_path / "x.gz").open("wb") as packed:
            subprocess.run(["gzip", "-1"], stdin=plain, stdout=packed, check=True)
        again = read_image(reference.replace(str(tmp_path / "x"), str(tmp_path / "x.gz")), tmp_path)
        assert again == read_image(reference, tmp_path)


def test_another_tool_asks_for_another_architecture(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="has no image for arm64; it has linux/amd64"):
        read_image(f"oci:{made.layouts['oci']}:1", tmp_path, "arm64")


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_a_registry(made: Made, tmp_path: Path, kind: str) -> None:
    source = f"oci:{made.layouts['oci']}:1" if kind == "oci" else f"dir:{made.layouts['docker']}"
    with registry(tmp_path) as hub:
        name = f"{hub.host}/team/web:1"
        copy(source, f"docker://{name}", "--dest-tls-verify=false")
        check(read_image(name, tmp_path), made, starts=GZIP)
        digest = inspected(f"docker://{name}", "--tls-verify=false", "--format={{.Digest}}")
        check(read_image(f"docker://{hub.host}/team/web@{digest}", tmp_path), made, starts=GZIP)


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with dockerd() as started:
        yield started


def test_a_docker_daemon(made: Made, docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the daemon gives it, and as `docker save` writes it to a file."""
    for name, value in docker.environment.items():
        monkeypatch.setenv(name, value)
    copy(f"oci:{made.layouts['oci']}:1", f"docker-archive:{tmp_path}/in.tar:web:1")
    client = docker.client()
    try:
        with (tmp_path / "in.tar").open("rb") as archive:
            (image,) = client.images.load(archive)
        image.tag("web", "other")
        for name in ("web:1", "web:other", image.id):
            found = read_image(f"docker-daemon:{name}", tmp_path)
            check(found, made, starts="", digests=False)
            assert found["digest"] == image.id
        with (tmp_path / "out.tar").open("wb") as out:
            for piece in image.save(named=True):
                out.write(piece)
    finally:
        client.close()
    for reference in ("", ":web:1", ":@0", ":docker.io/library/web:1"):
        check(read_image(f"docker-archive:{tmp_path}/out.tar{reference}", tmp_path), made, digests=False)
    with pytest.raises(ImageError, match=r"the docker daemon at unix://.* has no image nothing"):
        read_image("docker-daemon:nothing", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tar", "out.tar"]


def test_no_docker_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing")
    with pytest.raises(EngineError, match="no docker daemon answers"):
        read_image("docker-daemon:web", tmp_path)


def in_store(
    where: BuildEnv, name: str, *more: str, environment: dict[str, str] | None = None
) -> dict[str, Any]:
    """What `containers-storage:` gives the user of the build_env."""
    scratch = where.directory / "data" / "scratch"
    where.run("mkdir", "-p", scratch)
    program = Path(readimage.__file__).read_text()
    said = where.run(
        str(installed_dibo() / "python"), "-c", program, name, scratch, *more, environment=environment
    )
    assert said.code == 0, said.err
    found: dict[str, Any] = json.loads(said.out)
    return found


@pytest.mark.parametrize("name", [NAME, "localhost/web:docker", "web:1"])
def test_the_store_of_an_ordinary_user(made: Made, name: str) -> None:
    before = host_state(made.build_env.directory)
    check(in_store(made.build_env, f"containers-storage:{name}"), made, starts="")
    assert not new_on_host(made.build_env.directory, before)
    assert list((made.build_env.directory / "data" / "scratch").iterdir()) == []


def test_the_store_of_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read as it lies; and pushed by buildah first, as where dibo does not know how it is made."""
    if os.geteuid() != 0:
        pytest.skip("only root has root's store")
    with build_env(pwd.getpwuid(0)) as where:
        made = _make(where)
        check(in_store(where, f"containers-storage:{NAME}"), made, starts="")
        assert list((where.directory / "data" / "scratch").iterdir()) == []

        def unknown(*_: object) -> Path:
            raise containers_storage.Unknown

        monkeypatch.setattr(containers_storage, "_diff", unknown)
        monkeypatch.setenv("CONTAINERS_STORAGE_CONF", where.environment["CONTAINERS_STORAGE_CONF"])
        check(read_image(f"containers-storage:{NAME}", tmp_path), made, starts="")
        assert (tmp_path / "image" / "manifest.json").exists()


def test_a_store_with_a_file_missing(made: Made) -> None:
    """Without its tar-split the tar of this layer cannot be made again, by buildah neither."""
    found = next((made.build_env.directory / "data/containers/storage/overlay-layers").glob("*.tar-split.gz"))
    aside = found.with_suffix(".aside")
    found.rename(aside)
    try:
        with pytest.raises(AssertionError, match="buildah cannot give"):
            in_store(made.build_env, f"containers-storage:{NAME}")
    finally:
        aside.rename(found)


def test_a_file_that_changed_in_the_store(made: Made) -> None:
    where = made.build_env
    found = next((where.directory / "data/containers/storage/overlay").glob("*/diff/big"))
    size = found.stat().st_size
    try:
        os.truncate(found, 100)
        with pytest.raises(AssertionError, match="has another size than it had"):
            in_store(where, f"containers-storage:{NAME}")
    finally:
        os.truncate(found, size)


def test_no_such_image(made: Made) -> None:
    with pytest.raises(AssertionError, match="buildah has no image localhost/nothing"):
        in_store(made.build_env, "containers-storage:localhost/nothing")

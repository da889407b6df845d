"""Bases made of real parts: a registry on loopback, and mmdebstrap run by an ordinary user."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.build.bases.choose import choose_base
from dibo.build.bases.debian import Debian
from dibo.build.bases.settings import BaseSettings
from dibo.errors import BaseError, ImageError, RegistryError, Unreachable, VerificationFailed
from dibo.images.reference import parse_image_name
from dibo.images.sources.registry import resolve
from dibo.plan.base import OciImage, TarCommand
from dibo.system import process
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from tests.support.requirements import need, unmet
from tests.support.servers.registry import OCI_INDEX, OCI_MANIFEST, Registry, registry
from tests.support.user import NoOrdinaryUser, directory_of, ordinary_user

pytestmark = pytest.mark.integration
EPOCH = "2026-11-01"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


def test_a_tag_becomes_a_digest(hub: Registry, tmp_path: Path) -> None:
    digest = hub.push_image("team/app", "1")
    assert resolve(parse_image_name(f"{hub.host}/team/app:1"), architecture="amd64") == digest
    base = choose_base(
        f"{hub.host}/team/app:1",
        settings=BaseSettings(architecture="amd64"),
        workspace=Workspace(tmp_path),
        report=Report(),
    )
    assert base.ingredients() == (("kind", "image"), ("digest", digest))
    assert base.source() == OciImage(reference=f"docker://{hub.host}/team/app@{digest}", plain_http=True)


def test_an_index_is_followed_by_architecture(hub: Registry) -> None:
    entries = []
    for architecture in ("amd64", "arm64"):
        digest = hub.push_image("multi", architecture, comment=architecture)
        platform = {"os": "linux", "architecture": architecture}
        size = len(_manifest(hub, "multi", digest))
        entries.append({"mediaType": OCI_MANIFEST, "digest": digest, "size": size, "platform": platform})
    index = hub.push(
        "multi", "all", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}, OCI_INDEX
    )
    for name in (f"{hub.host}/multi:all", f"{hub.host}/multi@{index}"):
        assert resolve(parse_image_name(name), architecture="arm64") == entries[1]["digest"]
    with pytest.raises(ImageError, match=r"has no image for s390x; it has linux/amd64, linux/arm64"):
        resolve(parse_image_name(f"{hub.host}/multi:all"), architecture="s390x")


def _manifest(hub: Registry, repository: str, digest: str) -> bytes:
    accept = f"Accept: {OCI_MANIFEST}"
    argv = [
        "curl",
        "-sf",
        "--noproxy",
        "*",
        "-H",
        accept,
        f"http://{hub.host}/v2/{repository}/manifests/{digest}",
    ]
    need("curl")
    return subprocess.run(argv, check=True, capture_output=True).stdout


def test_what_is_not_there_fails_at_once(hub: Registry) -> None:
    with pytest.raises(RegistryError, match="answered 404") as caught:
        resolve(parse_image_name(f"{hub.host}/nothing:1"), architecture="amd64")
    assert "check the name" in caught.value.hint
    with pytest.raises(Unreachable, match="cannot be reached"):
        resolve(parse_image_name("127.0.0.1:1/x"), architecture="amd64")


def test_a_registry_that_lies(tmp_path: Path) -> None:
    with registry(tmp_path) as started:
        digest = started.push_image("app", "1")
        (blob,) = (tmp_path / "data").glob(f"**/blobs/sha256/*/{digest[7:]}/data")
        blob.write_bytes(json.dumps({"schemaVersion": 2, "layers": ["other"]}).encode())
        with pytest.raises((VerificationFailed, ImageError, RegistryError)):  # docker-registry notices it too
            resolve(parse_image_name(f"{started.host}/app@{digest}"), architecture="amd64")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tar of a Debian base, made by somebody who is not root."""
    need("mmdebstrap", "newuidmap")
    directory = None
    try:
        user = ordinary_user()
        directory = directory_of(user)
        command = _command_for(user.pw_uid)
    except (NoOrdinaryUser, BaseError) as error:
        unmet(str(error))
        raise
    try:
        yield _run(command, user.pw_name, directory)
    finally:
        for left in directory.iterdir():
            left.unlink()
        directory.rmdir()


def _command_for(uid: int) -> TarCommand:
    settings = BaseSettings(architecture="amd64", epoch=EPOCH, mirror=os.environ.get("DIBO_MIRROR"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("os.geteuid", lambda: uid)
        return Debian("trixie", settings=settings).source()


def _run(command: TarCommand, user: str, directory: Path) -> Path:
    environment = [f"{name}={value}" for name, value in command.environment]
    prefix = ["runuser", "-u", user, "--"] if os.geteuid() == 0 else []
    tar = directory / "root.tar"
    with tar.open("wb") as stdout:
        argv = [*prefix, "env", *environment, *command.argv]
        done = process.run(
            argv,
            streams=process.Streams(stdout=stdout),
            options=process.ProcessOptions(cwd=directory, timeout=1200),
            check=False,
        )
    assert done.returncode == 0, "\n".join(done.tail)
    return tar


def test_a_debian_root_is_blank_and_ready(root: Path) -> None:
    with tarfile.open(root) as tar:
        members = {member.name.removeprefix("./"): member for member in tar}
        status = tar.extractfile("./var/lib/dpkg/status")
        sources = tar.extractfile("./etc/apt/sources.list")
        assert status is not None
        assert sources is not None
        installed = {
            line[9:].strip() for line in status.read().decode().splitlines() if line.startswith("Package: ")
        }
    assert {"cloud-init", "openssh-server", "systemd-resolved", "netplan.io", "sudo"} <= installed
    assert "etc/hostname" not in members
    assert members["etc/machine-id"].size == 0
    assert members["etc/resolv.conf"].linkname == "../run/systemd/resolve/stub-resolv.conf"
    assert not [name for name in members if name.startswith("etc/ssh/ssh_host_")]
    assert not [name for name in members if name.endswith((".bak", "99mmdebstrap"))]
    assert not [name for name, each in members.items() if name.startswith("var/log/") and each.size]
    assert not [
        name for name in members if name.startswith("var/cache/apt/") and name.endswith((".bin", ".deb"))
    ]
    assert [name for name in members if name.startswith("var/lib/apt/lists/") and name.endswith("_Packages")]
    assert "etc/systemd/system/multi-user.target.wants/systemd-networkd.service" in members
    assert {each.uid for each in members.values()} & {0, 42} == {0, 42}, (
        "ids as in the root, not as on the host"
    )


def test_no_time_after_the_epoch(root: Path) -> None:
    """All that differs between two builds from one archive: times. They are clamped."""
    with tarfile.open(root) as tar:
        assert max(member.mtime for member in tar) <= 1793491200
    settings = BaseSettings(architecture="amd64")
    assert (
        dict(Debian("trixie", settings=dataclasses.replace(settings, epoch=EPOCH)).ingredients())["epoch"]
        == EPOCH
    )

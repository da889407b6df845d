"""From what a user writes to a base."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from dibo.build.bases.choose import BASES, choose_base, possible
from dibo.build.bases.debian import Debian
from dibo.build.bases.image import OciLayout, RegistryImage
from dibo.build.bases.releases import NEWEST_DEBIAN_STABLE, NEWEST_UBUNTU_LTS
from dibo.build.bases.settings import CLOUD_IMAGES, BaseSettings, settings_from
from dibo.build.bases.tarball import LocalFile, RemoteFile
from dibo.build.bases.ubuntu import Ubuntu
from dibo.errors import UsageError
from dibo.system.report import Report
from dibo.system.workspace import Workspace

SHA = "ab" * 32


@pytest.mark.parametrize(
    ("spec", "kind", "name"),
    [
        ("ubuntu", Ubuntu, f"ubuntu:{NEWEST_UBUNTU_LTS}"),
        ("ubuntu:22.04", Ubuntu, "ubuntu:jammy"),
        ("debian", Debian, f"debian:{NEWEST_DEBIAN_STABLE}"),
        ("debian:bookworm", Debian, "debian:bookworm"),
        ("debian-minimal", Debian, f"debian-minimal:{NEWEST_DEBIAN_STABLE}"),
        ("debian-minimal:bookworm", Debian, "debian-minimal:bookworm"),
        ("docker://debian:bookworm", RegistryImage, "docker.io/library/debian:bookworm"),
        ("localhost:5000/debian", RegistryImage, "localhost:5000/debian:latest"),
        ("ghcr.io/x/y@sha256:" + SHA, RegistryImage, f"ghcr.io/x/y@sha256:{SHA}"),
        ("oci:/x/layout:tag", OciLayout, "oci:layout:tag"),
        (f"https://x.example/root.tar.xz#sha256={SHA}", RemoteFile, "root.tar.xz"),
        ("here.tar", LocalFile, "here.tar"),
        ("./here.tar", LocalFile, "here.tar"),
        ("debian.tar", LocalFile, "debian.tar"),
    ],
)
def test_kinds(
    spec: str,
    kind: type,
    name: str,
    settings: BaseSettings,
    workspace: Workspace,
    report: Report,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("here.tar", "debian.tar"):
        Path(file).touch()
    base = choose_base(spec, settings=settings, workspace=workspace, report=report)
    assert type(base) is kind
    assert base.name == name
    assert base.architecture == "amd64"


def test_release_of_the_settings(settings: BaseSettings, workspace: Workspace, report: Report) -> None:
    said = dataclasses.replace(settings, release="noble")
    assert choose_base("ubuntu", settings=said, workspace=workspace, report=report).name == "ubuntu:noble"
    assert (
        choose_base("ubuntu:jammy", settings=said, workspace=workspace, report=report).name == "ubuntu:jammy"
    )
    with pytest.raises(UsageError, match="release of Ubuntu, not of Debian"):
        choose_base("debian", settings=said, workspace=workspace, report=report)


@pytest.mark.parametrize(("spec", "meant"), [("debain", "debian"), ("ubunto:22.04", "ubuntu")])
def test_a_misspelt_base_is_told_its_name(
    spec: str, meant: str, settings: BaseSettings, workspace: Workspace, report: Report
) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{meant}'"):
        choose_base(spec, settings=settings, workspace=workspace, report=report)


@pytest.mark.parametrize(
    "spec", ["", "fedora", "fedora:40", "library/x", "./none.tar", "/", "a.tar", "debian:"]
)
def test_what_could_be_anything_is_refused(
    spec: str, settings: BaseSettings, workspace: Workspace, report: Report
) -> None:
    with pytest.raises(UsageError) as caught:
        choose_base(spec, settings=settings, workspace=workspace, report=report)
    assert possible() in caught.value.hint
    assert all(kind.written in caught.value.hint for kind in BASES)


def test_what_is_no_file_is_no_base(
    settings: BaseSettings, workspace: Workspace, report: Report, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    problems = {str(tmp_path / "pipe"): "no file", "/dev/zero": "no file", str(tmp_path): "a directory"}
    for spec, problem in problems.items():
        with pytest.raises(UsageError, match=f"cannot be a base: it is {problem}"):
            choose_base(spec, settings=settings, workspace=workspace, report=report)
    with pytest.raises(UsageError, match="cannot be a base: it is not there"):
        choose_base(str(tmp_path / "gone.tar"), settings=settings, workspace=workspace, report=report)


def test_variables() -> None:
    said = settings_from(
        {"RELEASE": "", "CLOUD_IMAGES": "http://x/", "DIBO_MIRROR": "http://m/", "DIBO_UBUNTU_KEYRING": "/k"},
        architecture="arm64",
    )
    assert said.release is None
    assert said.cloud_images == "http://x/"
    assert said.mirror == "http://m/"
    assert said.keyring == Path("/k")
    assert settings_from({}, architecture="arm64").cloud_images == CLOUD_IMAGES

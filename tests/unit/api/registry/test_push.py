"""`dibo push` into a registry in memory: what is sent, and what is no artefact."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dibo.artefacts.oci_artefact import format_of
from dibo.cli.main import dibo
from dibo.disk.built_in.boxes import make_container_disk
from dibo.disk.built_in.job import ConversionJob
from dibo.errors import DiskImageError, VerificationFailed
from dibo.formats.vm_disks.identity import NO_IDENTITY
from pull.registry import choose
from tests.support.disks.gpt_disks import make_disk
from tests.support.servers.fake_registry import FakeRegistry

pytestmark = pytest.mark.slow

QCOW2 = b"QFI\xfb" + bytes(range(256)) * 4000


@pytest.fixture
def fake_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "/nonexistent")
    with FakeRegistry() as server:
        yield server


def pushed(fake_registry: FakeRegistry, *words: str) -> int:
    return dibo(["push", *words])


def manifest(fake_registry: FakeRegistry, repository: str, tag: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fake_registry.state.manifests[repository, tag][1])
    return found


def test_a_disk(fake_registry: FakeRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "web.qcow2"
    path.write_bytes(QCOW2)
    assert pushed(fake_registry, str(path), f"{fake_registry.host}/disks/web:1") == 0
    said = capsys.readouterr()
    found = manifest(fake_registry, "disks/web", "1")
    (layer,) = found["layers"]
    assert found["artifactType"] == "application/vnd.dibo.disk.v1"
    assert layer["mediaType"] == "application/vnd.dibo.disk.v1.qcow2"
    assert layer["annotations"] == {"org.opencontainers.image.title": "web.qcow2"}
    assert fake_registry.state.blobs["disks/web", layer["digest"]] == QCOW2
    assert fake_registry.state.blobs["disks/web", found["config"]["digest"]] == b"{}"
    place = re.escape(f"{fake_registry.host}/disks/web:1")
    assert re.fullmatch(rf"{place}@sha256:[0-9a-f]{{64}}\n", said.out)
    assert choose(found, "", "").title == "web.qcow2"  # what deploy_method=pull makes of it

    fake_registry.state.asked.clear()
    assert pushed(fake_registry, str(path), f"{fake_registry.host}/disks/web:2") == 0
    assert "it is there already" in capsys.readouterr().err
    assert not fake_registry.state.requests("uploads")
    assert manifest(fake_registry, "disks/web", "2") == found


def test_a_connection_that_breaks(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    path = tmp_path / "web.qcow2"
    path.write_bytes(QCOW2)
    fake_registry.state.inject("PUT", 503, "drop")
    assert pushed(fake_registry, str(path), f"{fake_registry.host}/disks/web:1") == 0
    assert QCOW2 in fake_registry.state.blobs.values()


def test_a_ramdisk_goes_with_its_kernel(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    path = tmp_path / "deploy.ramdisk"
    path.write_bytes(b"\x28\xb5\x2f\xfd ramdisk")
    assert pushed(fake_registry, str(path), f"{fake_registry.host}/disks/deploy") == 2
    assert not fake_registry.state.blobs
    (tmp_path / "deploy.kernel").write_bytes(b"kernel")
    assert pushed(fake_registry, str(path), f"{fake_registry.host}/disks/deploy") == 0
    found = manifest(fake_registry, "disks/deploy", "latest")
    assert found["artifactType"] == "application/vnd.dibo.ramdisk.v1"
    assert [(each["mediaType"], each["annotations"]) for each in found["layers"]] == [
        ("application/vnd.dibo.ramdisk.v1.kernel", {"org.opencontainers.image.title": "deploy.kernel"}),
        ("application/vnd.dibo.ramdisk.v1.initramfs", {"org.opencontainers.image.title": "deploy.ramdisk"}),
    ]


def test_the_digest_beside_the_file_must_hold(
    fake_registry: FakeRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, beside = tmp_path / "web.qcow2", tmp_path / "web.qcow2.sha256"
    path.write_bytes(QCOW2)
    beside.write_text(f"{'0' * 64}  web.qcow2\n")
    assert pushed(fake_registry, str(path), f"{fake_registry.host}/disks/web:1") == 31
    said = capsys.readouterr().err
    assert f"{beside} says otherwise" in said and not fake_registry.state.blobs
    beside.write_text(f"{said.partition('the sha256 ')[2][:64]}  web.qcow2\n")
    assert pushed(fake_registry, str(path), f"{fake_registry.host}/disks/web:1") == 0


@pytest.mark.parametrize(
    ("content", "reference", "code", "said"),
    [
        (b"words", "HOST/a:1", 56, "is no disk"),
        (None, "HOST/a:1", 56, "cannot read"),
        (QCOW2, "web:1", 2, "does not say where to push to"),
        (QCOW2, f"HOST/a@sha256:{'0' * 64}", 2, "does not say where to push to"),
        (QCOW2, "HOST/A", 2, "is not a path"),
    ],
)
def test_what_cannot_be_pushed(
    fake_registry: FakeRegistry,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    reference: str,
    code: int,
    said: str,
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    assert pushed(fake_registry, str(path), reference.replace("HOST", fake_registry.host)) == code
    assert said in capsys.readouterr().err
    assert not fake_registry.state.blobs


def test_a_registry_that_does_not_take_it(
    fake_registry: FakeRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "web.qcow2"
    path.write_bytes(QCOW2)
    fake_registry.state.always("POST", 403)
    assert pushed(fake_registry, str(path), f"{fake_registry.host}/disks/web:1") == 60
    assert "answered 403" in capsys.readouterr().err
    assert not fake_registry.state.manifests


def test_formats(tmp_path: Path) -> None:
    assert format_of(make_disk(tmp_path / "disk", 4, {"root": (1, 2)})[:2048]) == "raw"
    assert format_of(bytes(1080) + b"\x53\xef") == "raw"
    assert format_of(b"\x1f\x8b\x08") == "raw+gzip"
    assert format_of(b"vhdxfile") == "vhdx"
    assert format_of(bytes(4096)) is None and format_of(b"") is None
    shutil.rmtree(tmp_path)


def test_a_container_disk_arrives_as_an_image(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    path = tmp_path / "web.containerdisk.tar"
    path.touch()
    (tmp_path / "disk.qcow2").write_bytes(QCOW2)
    make_container_disk(
        ConversionJob(
            target=path,
            name="web",
            architecture="arm64",
            size=1 << 20,
            identity=NO_IDENTITY,
            disk=tmp_path / "disk.qcow2",
        )
    )
    assert pushed(fake_registry, str(path), f"{fake_registry.host}/disks/web:1") == 0
    found = manifest(fake_registry, "disks/web", "1")
    assert "artifactType" not in found
    config = json.loads(fake_registry.state.blobs["disks/web", found["config"]["digest"]])
    assert (config["architecture"], config["os"]) == ("arm64", "linux")
    (layer,) = found["layers"]
    assert QCOW2 in fake_registry.state.blobs["disks/web", layer["digest"]]


def test_a_tar_with_a_manifest_that_was_changed(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    path = tmp_path / "web.tar"
    with tarfile.open(path, "w") as tar:
        documents = {
            "oci-layout": b"{}",
            "index.json": json.dumps(
                {
                    "schemaVersion": 2,
                    "manifests": [
                        {
                            "mediaType": "application/vnd.oci.image.manifest.v1+json",
                            "digest": f"sha256:{'1' * 64}",
                            "size": 2,
                        }
                    ],
                }
            ).encode(),
            f"blobs/sha256/{'1' * 64}": b"{}",
        }
        for name, data in documents.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    assert (
        pushed(fake_registry, str(path), f"{fake_registry.host}/disks/web:1") == VerificationFailed.exit_code
    )
    assert not fake_registry.state.manifests


@pytest.mark.parametrize(
    ("name", "hint"), [("qemu.sh", "dibo convert -t qcow2"), ("index.json", "skopeo copy oci:")]
)
def test_a_directory_is_no_artefact(
    fake_registry: FakeRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, hint: str
) -> None:
    (tmp_path / "web.microvm").mkdir()
    (tmp_path / "web.microvm" / name).write_text("")
    assert pushed(fake_registry, str(tmp_path / "web.microvm"), f"{fake_registry.host}/disks/web:1") == 56
    said = capsys.readouterr().err
    assert "web.microvm is a directory" in said
    assert hint in said


def test_a_pipe_is_no_artefact(
    fake_registry: FakeRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "web.qcow2")
    code = pushed(fake_registry, str(tmp_path / "web.qcow2"), f"{fake_registry.host}/disks/web:1")
    assert code == DiskImageError.exit_code
    assert "web.qcow2 is no file" in capsys.readouterr().err

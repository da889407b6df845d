"""Parcels arrive as they were sent, and nothing else counts as one."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from dibo.api.fleet import parcel
from dibo.errors import ImageError, RegistryError, VerificationFailed
from dibo.images.reference import ImageName, parse_repository
from tests.support.servers.registry import Registry, registry


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry"), delete=True) as made:
        yield made


@pytest.fixture
def name(hub: Registry, request: pytest.FixtureRequest) -> ImageName:
    return parse_repository(f"{hub.host}/parcels").tagged("bake-1")


def test_files_arrive_as_they_were(name: ImageName, hub: Registry, tmp_path: Path) -> None:
    flavour = tmp_path / "flavour"
    (flavour / "install.d").mkdir(parents=True)
    (flavour / "install.d" / "10-hook").write_text("#!/bin/sh\n")
    (flavour / "install.d" / "10-hook").chmod(0o755)
    (flavour / "secret").write_text("only mine")
    (flavour / "secret").chmod(0o600)
    (flavour / "link").symlink_to("secret")
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.write(b"boot")
        file.truncate(50 << 20)
    digest = parcel.send(name, {"files/1/flavour": flavour, "disk.raw": disk}, scratch=tmp_path)
    target = tmp_path / "target"
    target.mkdir()
    parcel.receive(name, digest, target)
    hook = target / "files" / "1" / "flavour" / "install.d" / "10-hook"
    assert hook.read_text() == "#!/bin/sh\n"
    assert hook.stat().st_mode & 0o777 == 0o755
    assert (target / "files/1/flavour/secret").stat().st_mode & 0o777 == 0o600
    assert (target / "files/1/flavour/link").readlink() == Path("secret")
    assert (target / "disk.raw").read_bytes() == disk.read_bytes()
    assert (target / "disk.raw").stat().st_blocks * 512 < 1 << 20, "holes are holes again"
    assert hub.tags("parcels") == ["bake-1"]
    parcel.forget(name)
    assert hub.tags("parcels") == []


def push_tar(name: ImageName, hub: Registry, *members: tarfile.TarInfo) -> str:
    """A parcel that dibo would not make; its digest."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    blob = hub.push_blob("parcels", zstandard.compress(content.getvalue()))
    manifest = {"schemaVersion": 2, "artifactType": parcel.PARCEL, "layers": [blob]}
    manifest["config"] = hub.push_blob("parcels", b"{}") | {"mediaType": "application/vnd.oci.empty.v1+json"}
    manifest["mediaType"] = "application/vnd.oci.image.manifest.v1+json"
    return hub.push("parcels", "", manifest, "application/vnd.oci.image.manifest.v1+json")


def link(path: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


@pytest.mark.parametrize(
    "members",
    [
        (tarfile.TarInfo("../outside"),),
        (tarfile.TarInfo("/outside"),),
        (link("inside", ".."), tarfile.TarInfo("inside/outside")),
    ],
    ids=["up", "absolute", "link"],
)
def test_nothing_is_written_outside(
    name: ImageName, hub: Registry, tmp_path: Path, members: tuple[tarfile.TarInfo, ...]
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(ImageError, match="would be outside of its directory"):
        parcel.receive(name, push_tar(name, hub, *members), target)
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_devices_are_refused(name: ImageName, hub: Registry, tmp_path: Path) -> None:
    device = tarfile.TarInfo("null")
    device.type = tarfile.CHRTYPE
    with pytest.raises(ImageError, match="neither a file, a directory nor a symbolic link"):
        parcel.receive(name, push_tar(name, hub, device), tmp_path)


def test_an_image_is_no_parcel(name: ImageName, hub: Registry, tmp_path: Path) -> None:
    digest = hub.push_image("parcels", "image")
    with pytest.raises(ImageError, match="is no parcel of a bake"):
        parcel.receive(name, digest, tmp_path)


def test_what_is_not_there(name: ImageName, tmp_path: Path) -> None:
    with pytest.raises((RegistryError, VerificationFailed)):
        parcel.receive(name, f"sha256:{'0' * 64}", tmp_path)

"""Types of disks as their users' tools read them: one conversion makes all, and each holds the same disk."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.system import process
from tests.support import user
from tests.support.host.build_env import build_env, busybox_root
from tests.support.images.oci_layouts import LayerTar, OciLayout
from tests.support.requirements import need

pytestmark = pytest.mark.integration

QEMU = {"vhd": "vpc", "vdi": "vdi", "vmdk": "vmdk", "qcow2": "qcow2"}
COMPRESSED = {"gz": "gzip", "xz": "xz", "zst": "zstd"}
PACKED = ("ova", "vagrant-virtualbox", "vagrant-libvirt", "containerdisk")
SUFFIXES = {
    "vagrant-virtualbox": "virtualbox.box",
    "vagrant-libvirt": "libvirt.box",
    "containerdisk": "containerdisk.tar",
}
TREES = ("tar", "erofs")
TYPES = ("raw", *QEMU, *(f"raw.{kind}" for kind in COMPRESSED), *PACKED, *TREES)
SIZE = 96 << 20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory with a disk of a busybox root in every type."""
    need("busybox", "qemu-img", "tar", "e2fsck", *COMPRESSED.values())
    with build_env(user.need_ordinary_user()) as place:
        base = place.directory / "base.tar"
        busybox_root(base)
        layout = OciLayout(place.directory / "image")
        layout.write_index({"1": layout.image([LayerTar(tar=base)])})
        out = place.directory / "out"
        out.mkdir()
        out.chmod(0o777)
        for name, types in (("web", TYPES), ("google", ("gce",)), ("alone", ("erofs",))):
            said = place.run(
                *("dibo", "convert", f"oci:{place.directory / 'image'}:1", "--bare", "--checksum"),
                *("-t", ",".join(types), "-o", out / name),
                environment={"IMAGE_SIZE": str(SIZE / (1 << 30))},
            )
            assert said.code == 0, said.err
            assert ("the disk gets 1 GiB" in said.err) == (name == "google")
        yield out


def artefact(made: Path, kind: str) -> Path:
    return made / f"web.{SUFFIXES.get(kind, kind)}"


def compare(made: Path, path: Path, kind: str) -> None:
    process.run(
        ["qemu-img", "compare", "-f", "raw", "-F", kind, str(made / "web.raw"), str(path)], capture=True
    )
    said = process.run(["qemu-img", "info", "--output=json", "-f", kind, str(path)], capture=True)
    assert json.loads(said.stdout)["virtual-size"] == SIZE


def test_each_type_has_its_name_checksum_and_line_in_the_manifest(made: Path) -> None:
    manifest = json.loads((made / "web.manifest.json").read_text())
    assert [entry["type"] for entry in manifest["artefacts"]] == list(TYPES)
    for entry in manifest["artefacts"]:
        assert (made / entry["name"]).stat().st_size == entry["size"]
        options = process.ProcessOptions(cwd=made)
        process.run(["sha256sum", "--check", f"{entry['name']}.sha256"], options=options, capture=True)


@pytest.mark.parametrize("kind", QEMU)
def test_images_of_hypervisors(made: Path, kind: str) -> None:
    path = artefact(made, kind)
    compare(made, path, QEMU[kind])
    if kind != "vhd":  # qemu-img has nothing to check in one of fixed size
        process.run(["qemu-img", "check", "-f", QEMU[kind], str(path)], capture=True)
    assert path.stat().st_blocks * 512 < made.joinpath("web.raw").stat().st_blocks * 512 + (4 << 20)


@pytest.mark.parametrize("kind", COMPRESSED)
def test_compressed_disks(made: Path, kind: str) -> None:
    path = artefact(made, f"raw.{kind}")
    process.run([COMPRESSED[kind], "-t", str(path)])
    script = f"{COMPRESSED[kind]} -dc {path} | cmp - {made / 'web.raw'}"
    process.run(["sh", "-c", script])


def test_googles_tar(made: Path, tmp_path: Path) -> None:
    process.run(["tar", "-xSzf", str(made / "google.raw.tar.gz"), "-C", str(tmp_path)])
    process.run(["e2fsck", "-fn", str(tmp_path / "disk.raw")], capture=True)
    assert (tmp_path / "disk.raw").stat().st_size == 1 << 30
    assert (tmp_path / "disk.raw").stat().st_blocks * 512 < 200 << 20


@pytest.mark.parametrize(
    ("kind", "member", "format_name"),
    [
        ("ova", "web.vmdk", "vmdk"),
        ("vagrant-virtualbox", "disk.vmdk", "vmdk"),
        ("vagrant-libvirt", "box.img", "qcow2"),
    ],
)
def test_disks_in_tars(made: Path, tmp_path: Path, kind: str, member: str, format_name: str) -> None:
    process.run(["tar", "-xf", str(artefact(made, kind)), "-C", str(tmp_path)])
    compare(made, tmp_path / member, format_name)


def test_a_disk_in_a_container_image(made: Path, tmp_path: Path) -> None:
    with tarfile.open(artefact(made, "containerdisk")) as archive:
        archive.extractall(tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    blobs = tmp_path / "blobs" / "sha256"
    manifest = json.loads((blobs / index["manifests"][0]["digest"].removeprefix("sha256:")).read_text())
    layer = blobs / manifest["layers"][0]["digest"].removeprefix("sha256:")
    process.run(["tar", "-xf", str(layer), "-C", str(tmp_path), "--no-same-owner"])
    compare(made, tmp_path / "disk" / "disk.qcow2", "qcow2")


def test_a_file_system_that_is_only_read(made: Path, tmp_path: Path) -> None:
    need("fsck.erofs", "dump.erofs", "diff")
    erofs = made / "web.erofs"
    assert erofs.read_bytes() == (made / "alone.erofs").read_bytes(), "beside other types it is the same"
    (tmp_path / "tar").mkdir()
    process.run(["tar", "-xf", str(made / "web.tar"), "-C", str(tmp_path / "tar")])
    extracted = ["fsck.erofs", f"--extract={tmp_path / 'erofs'}", "--no-preserve-owner", str(erofs)]
    process.run(extracted, capture=True)
    process.run(["diff", "-r", "--no-dereference", str(tmp_path / "tar"), str(tmp_path / "erofs")])
    said = process.run(["dump.erofs", "-s", str(erofs)], capture=True)
    assert "sb_csum mtime" in said.stdout

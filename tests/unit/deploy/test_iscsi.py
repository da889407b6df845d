"""Images that the boot server is told to write: only disks, and nothing that names another file of the server."""

from __future__ import annotations

import bz2
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from dibo.deploy.iscsi import probe
from dibo.deploy.write_plan import DeploymentFailed
from tests.support.requirements import need

SIZE = 1 << 20


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the server's that no machine is to get."""
    need("qemu-img")
    path = tmp_path / "secret.raw"
    path.write_bytes(b"secret".ljust(SIZE, b"\0"))
    return path


def qemu_img(*argv: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, argv)], check=True, capture_output=True)


def test_a_qcow2_with_its_data_in_another_file(secret: Path, tmp_path: Path) -> None:
    image = tmp_path / "web.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={secret},data_file_raw=on", image, "1M")
    with pytest.raises(DeploymentFailed, match="keeps its data in another file"):
        probe(image)


def test_a_qcow2_with_a_backing_file(secret: Path, tmp_path: Path) -> None:
    image = tmp_path / "web.qcow2"
    qemu_img("create", "-f", "qcow2", "-b", secret, "-F", "raw", image)
    with pytest.raises(DeploymentFailed, match=r"difference to another file.*qemu-img convert"):
        probe(image)


def test_a_vmdk_with_an_extent_elsewhere(secret: Path, tmp_path: Path) -> None:
    image = tmp_path / "web.vmdk"
    image.write_text(
        '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
        f'RW {SIZE // 512} FLAT "{secret}" 0\n'
    )
    with pytest.raises(DeploymentFailed, match="only says which files a disk is in"):
        probe(image)


def test_a_vmdk_header_with_an_extent_elsewhere(secret: Path, tmp_path: Path) -> None:
    """A sparse header of no capacity: its descriptor counts, and names the extents (QEMU, block/vmdk.c)."""
    image = tmp_path / "web.vmdk"
    qemu_img("create", "-f", "vmdk", image, "1M")
    data = bytearray(image.read_bytes())
    data[12:20] = bytes(8)
    text = (
        '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
        f'RW {SIZE // 512} FLAT "{secret}" 0\n'
    )
    data[512 : 512 + 20 * 512] = text.encode().ljust(20 * 512, b"\0")
    image.write_bytes(data)
    with pytest.raises(DeploymentFailed, match="refers to other files"):
        probe(image)


def a_tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("etc/hostname"))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bz2.compress(bytes(SIZE)), "compressed by bzip2"),
        (b"\x04\x22\x4d\x18" + bytes(SIZE - 4), "compressed by lz4"),
        (a_tar(), "is a tar, no disk image"),
        (b"PK\3\4" + bytes(508), "is a zip"),
        (b"070701" + bytes(506), "is a cpio"),
        (b"QED\0" + bytes(508), "format qed"),
    ],
    ids=["bzip2", "lz4", "tar", "zip", "cpio", "qed"],
)
def test_what_is_no_disk_is_not_taken_for_a_raw_one(tmp_path: Path, data: bytes, words: str) -> None:
    image = tmp_path / "web.raw"
    image.write_bytes(data)
    with pytest.raises(DeploymentFailed, match=words):
        probe(image)


@pytest.mark.parametrize("subformat", ["dynamic", "fixed"])
def test_a_vhd_is_opened_as_one(tmp_path: Path, subformat: str) -> None:
    """One of fixed size has its footer alone."""
    need("qemu-img")
    raw, image = tmp_path / "raw", tmp_path / "web.vhd"
    raw.write_bytes(bytes(510) + b"\x55\xaa" + bytes(SIZE - 512))
    qemu_img("convert", "-O", "vpc", "-o", f"subformat={subformat},force_size=on", raw, image)
    assert (probe(image).format, probe(image).size) == ("vpc", SIZE)


def test_a_raw_disk(tmp_path: Path) -> None:
    need("qemu-img")
    image = tmp_path / "web.raw"
    image.write_bytes(bytes(510) + b"\x55\xaa" + bytes(SIZE - 512))
    assert (probe(image).format, probe(image).size) == ("raw", SIZE)

"""Disk images in what they were packed in."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from dibo.errors import DiskImageError
from dibo.machines.unpacked_image import unpacked_image
from dibo.system.report import Report
from dibo.system.workspace import Workspace

DISK = b"disk".ljust(4 << 20, b"\0") + b"end"


def unpacked(path: Path, tmp_path: Path) -> bytes:
    with Workspace(tmp_path / "cache").run() as run:
        return unpacked_image(path, run=run, report=Report()).read_bytes()


def tar_of(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(DISK)
            archive.addfile(member, io.BytesIO(DISK))
    return path


def test_what_is_not_packed_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(DISK)
    with Workspace(tmp_path / "cache").run() as run:
        assert unpacked_image(path, run=run, report=Report()) == path


def test_the_disk_of_a_packed_tar(tmp_path: Path) -> None:
    """As Google takes it; an OVA is a tar alone."""
    archive = tar_of(tmp_path / "disk.tar", "../metadata.json", "../disk.raw")
    packed = tmp_path / "image"
    packed.write_bytes(gzip.compress(archive.read_bytes()))
    assert unpacked(packed, tmp_path) == DISK
    assert unpacked(tar_of(tmp_path / "a.ova", "web.ovf", "web-disk1.vmdk"), tmp_path) == DISK


@pytest.mark.parametrize("packed", [False, True])
def test_the_disk_of_a_container_disk(tmp_path: Path, *, packed: bool) -> None:
    layer = tar_of(tmp_path / "layer.tar", "disk/notes", "disk/disk.qcow2").read_bytes()
    layer = gzip.compress(layer) if packed else layer
    with tarfile.open(tmp_path / "web.tar", "w") as archive:
        for name, data in (("oci-layout", b"{}"), ("blobs/sha256/1", layer), ("blobs/sha256/0", b"{}")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    assert unpacked(tmp_path / "web.tar", tmp_path) == DISK


def test_a_layer_that_is_cut_short(tmp_path: Path) -> None:
    layer = gzip.compress(tar_of(tmp_path / "layer.tar", "disk/disk.qcow2").read_bytes())[:-3000]
    with tarfile.open(tmp_path / "web.tar", "w") as archive:
        for name, data in (("oci-layout", b"{}"), ("blobs/sha256/1", layer)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    with pytest.raises(DiskImageError, match="cannot read"):
        unpacked(tmp_path / "web.tar", tmp_path)


def test_a_tar_without_a_disk(tmp_path: Path) -> None:
    with pytest.raises(DiskImageError, match="a tar without a disk image"):
        unpacked(tar_of(tmp_path / "root.tar", "etc/passwd"), tmp_path)


def test_what_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "disk.gz"
    path.write_bytes(gzip.compress(DISK)[:-20])
    with pytest.raises(DiskImageError, match="cannot read"):
        unpacked(path, tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "disk.raw")
    with pytest.raises(DiskImageError, match=r"disk\.raw is no file"):
        unpacked(tmp_path / "disk.raw", tmp_path)

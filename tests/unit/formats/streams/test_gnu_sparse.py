"""A sparse file in a tar, read by Python's tarfile: the map, the holes, and numbers beyond 8 GiB."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from dibo.formats.streams.gnu_sparse import data_runs, write_sparse_tar
from dibo.units import GIB, KIB, MIB
from tests.support.disks.sample_disk import sample_disk


def archive(path: Path) -> io.BytesIO:
    out = io.BytesIO()
    with path.open("rb") as file:
        write_sparse_tar(file, out, name="disk.raw", time=1_700_000_000)
    out.seek(0)
    return out


def test_read_back(tmp_path: Path) -> None:
    disk = sample_disk(tmp_path / "disk")
    out = archive(tmp_path / "disk")
    with tarfile.open(fileobj=out) as tar:
        (member,) = tar.getmembers()
        file = tar.extractfile(member)
        assert file is not None
        assert (member.name, member.size, member.mtime) == ("disk.raw", len(disk), 1_700_000_000)
        assert member.issparse()
        assert file.read() == disk
    assert out.getvalue()[156:157] == b"S"
    assert out.getvalue()[257:265] == b"ustar  \0"
    assert len(out.getvalue()) < MIB


def test_more_pieces_than_a_header_has_room_for(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        for place in range(60):
            file.seek(place * 256 * KIB)
            file.write(b"%d" % place)
        file.truncate(20 * MIB)
    with path.open("rb") as file:
        assert len(data_runs(file)) == 61
    with tarfile.open(fileobj=archive(path)) as tar:
        sparse = tar.extractfile("disk.raw")
        assert sparse is not None
        assert sparse.read() == path.read_bytes()


def test_beyond_8_gib(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(9 * GIB)
        file.seek(9 * GIB - 512)
        file.write(b"E" * 512)
    with path.open("rb") as file:
        assert data_runs(file) == [(9 * GIB - 64 * KIB, 64 * KIB)]
    with tarfile.open(fileobj=archive(path)) as tar:
        (member,) = tar.getmembers()
        assert member.size == 9 * GIB
        assert member.issparse()

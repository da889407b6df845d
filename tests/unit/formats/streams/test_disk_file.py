"""Pieces of a sparse file: in order, and alike whether the file system has holes or zeros."""

from __future__ import annotations

from pathlib import Path

from dibo.formats.streams.disk_file import pieces
from dibo.units import KIB, MIB
from tests.support.disks.sample_disk import sample_disk


def test_all_bytes_in_order(tmp_path: Path) -> None:
    disk = sample_disk(tmp_path / "disk")
    with (tmp_path / "disk").open("rb") as file:
        found = list(pieces(file, size=64 * KIB))
    assert b"".join(bytes(64 * KIB) if piece is None else piece for piece in found) == disk
    assert found.count(None) > 100
    assert not any(piece is not None and not any(piece) for piece in found)


def test_holes_and_zeros_are_alike(tmp_path: Path) -> None:
    disk = sample_disk(tmp_path / "disk")
    (tmp_path / "full").write_bytes(disk)
    with (tmp_path / "disk").open("rb") as sparse, (tmp_path / "full").open("rb") as full:
        assert list(pieces(sparse, size=MIB)) == list(pieces(full, size=MIB))


def test_a_last_piece_that_is_shorter(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"x" * 100 + bytes(50))
    with (tmp_path / "disk").open("rb") as file:
        assert list(pieces(file, size=100)) == [b"x" * 100, None]
        assert list(pieces(file, size=64)) == [b"x" * 64, b"x" * 36 + bytes(28), None]


def test_nothing_but_a_hole(tmp_path: Path) -> None:
    with (tmp_path / "disk").open("w+b") as file:
        file.truncate(5 * MIB)
        assert list(pieces(file, size=MIB)) == [None] * 5

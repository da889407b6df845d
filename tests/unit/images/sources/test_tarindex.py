"""Members of a tar where they lie: the same that Python's tarfile finds, and an error for what is no tar."""

from __future__ import annotations

import io
import os
import tarfile
import zlib
from pathlib import Path

import pytest

from dibo.errors import ImageError, OutputError
from dibo.images.sources.archive import open_archive, spooled
from dibo.images.sources.tarindex import read_index
from tests.support.images.tar_layers import END, file, long, pax
from tests.unit.images.sources.sample_images import layer_tar, tar_of

LONG = "/".join(["long-" * 20] * 5)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_tarfile_finds(tmp_path: Path, format: int) -> None:
    path = tmp_path / "x.tar"
    names = ["a", "./b", "dir/c", "é", LONG[:90] if format == tarfile.USTAR_FORMAT else LONG, "a"]
    with tarfile.open(path, "w", format=format) as tar:
        for n, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size = n * 300
            tar.addfile(member, io.BytesIO(bytes([n]) * member.size))
        directory = tarfile.TarInfo("dir")
        directory.type = tarfile.DIRTYPE
        tar.addfile(directory)
        if format == tarfile.PAX_FORMAT:
            large = tarfile.TarInfo("x")
            large.pax_headers = {"size": "5", "comment": "a=b\nc"}
            large.size = 5
            tar.addfile(large, io.BytesIO(b"12345"))
    with open_archive(path, scratch=None) as files:
        for n, name in list(enumerate(names))[1:]:
            assert files.read(name) == bytes([n]) * n * 300
        assert files.size("dir") is None
        assert files.size("nothing") is None
        if format == tarfile.PAX_FORMAT:
            assert files.read("x") == b"12345"


def damaged(**change: object) -> bytes:
    """A tar whose one header is changed, its checksum right."""
    member = tarfile.TarInfo("a")
    for name, value in change.items():
        setattr(member, name, value)
    return member.tobuf(tarfile.GNU_FORMAT) + b"x" * 512 + bytes(1024)


def with_pax(records: bytes) -> bytes:
    header = tarfile.TarInfo("pax")
    header.type, header.size = b"x", len(records)
    return header.tobuf() + records.ljust(512, b"\0") + layer_tar("a")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no tar archive"),
        (b"hello", "is no tar archive"),
        (b"x" * 1024, "is no tar archive"),
        (layer_tar("a")[:512], "cut short"),
        (layer_tar("a")[:1024] + b"junk" * 200, "not a tar archive, at byte 1024"),
        (damaged(size=-512), "cut short, or damaged"),
        (damaged(size=-(1 << 60)), "cut short, or damaged"),
        (damaged(size=1 << 70), "cut short, or damaged"),
        (with_pax(b"13 size=-512\n"), "cut short, or damaged"),
        (with_pax(b"10 size=x\n"), "which is no number"),
        (with_pax(b"12 size=99\n"), "wrong length"),
        (with_pax(b"0 a=b\n"), "wrong length"),
        (with_pax(b"99999999999 a=b\n"), "wrong length"),
        (with_pax(b"junk"), "without a length"),
        (with_pax(b"18 size=123456789\n"), "cut short, or damaged"),
    ],
)
def test_what_is_no_tar(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=message), open_archive(path, scratch=None):
        pass


def test_a_name_of_a_gigabyte(tmp_path: Path) -> None:
    header = tarfile.TarInfo("a")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    path = tmp_path / "x.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, 2 << 30)
    with pytest.raises(ImageError, match="a name of 1073741824 bytes"), open_archive(path, scratch=None):
        pass


def test_more_members_than_an_image_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dibo.images.sources.tarindex._MOST_MEMBERS", 10)
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of({str(n): b"" for n in range(11)}))
    with path.open("rb") as file, pytest.raises(ImageError, match="more than 10 members"):
        read_index(file.fileno(), description="x")
    with path.open("rb") as file:
        index = read_index(file.fileno(), description="x", only={"7", "none"})
    assert index.find("7") is not None and index.find("8") is None and index.find("none") is None


def test_compressed_and_cut_short(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(os.urandom(5000))[:3000])
    with pytest.raises(ImageError, match=r"cannot read .*x.tar.gz"), open_archive(path, scratch=tmp_path):
        pass
    with pytest.raises(ImageError, match="is compressed"), open_archive(path, scratch=None):
        pass


def test_a_full_disk(tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise zlib.error("bad")

    with (
        pytest.raises(ImageError, match="cannot read x: bad"),
        spooled(Full(), scratch=tmp_path, description="x"),
    ):
        pass
    with (
        pytest.raises((OutputError, FileNotFoundError)),
        spooled(io.BytesIO(b"x"), scratch=tmp_path / "no", description="x"),
    ):
        pass


def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    monkeypatch.setattr("dibo.images.sources.archive._RATIO_FROM", 1 << 20)
    monkeypatch.setattr("dibo.images.sources.archive._RATIO", 100)
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(bytes(8 << 20)))
    with pytest.raises(ImageError, match="unpacks to more than 1"), open_archive(path, scratch=tmp_path):
        pass


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ((long(b"L", b"first"), long(b"L", b"second")), "second"),
        ((long(b"L", b"long"), pax((b"path", b"pax"))), "pax"),
        ((pax((b"path", b"pax")), long(b"L", b"long")), "pax"),
    ],
)
def test_long_names_as_in_layers(tmp_path: Path, parts: tuple[bytes, ...], name: str) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(b"".join((*parts, file(b"short", b"1"), END)))
    with path.open("rb") as opened:
        index = read_index(opened.fileno(), description="x.tar")
    assert index.find(name) is not None
    assert index.find("short") is None

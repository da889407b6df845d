"""Compressed disks, read by the libraries that everybody has; the same bytes for any number of threads."""

from __future__ import annotations

import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from dibo.formats.streams import compressed, in_threads
from dibo.units import MIB
from tests.support.disks.sample_disk import sample_disk

pytestmark = pytest.mark.slow


def unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(data)


READERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.decompress, "xz": lzma.decompress, "zst": unzstd}


def packed(path: Path, kind: str) -> bytes:
    out = io.BytesIO()
    with path.open("rb") as file:
        compressed.COMPRESSIONS[kind](file, out)
    return out.getvalue()


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("size", [12 * MIB, 12 * MIB + 777, 17 * MIB, 33])
def test_read_back(tmp_path: Path, kind: str, size: int) -> None:
    path = tmp_path / "disk"
    if size < MIB:
        path.write_bytes(bytes(size))
    else:
        sample_disk(path, size=size)
    data = packed(path, kind)
    assert READERS[kind](data) == path.read_bytes()
    assert len(data) < 100_000


@pytest.mark.parametrize("kind", READERS)
def test_any_number_of_threads_gives_the_same(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample_disk(tmp_path / "disk")
    results = set()
    for threads in (1, 2, 5):
        monkeypatch.setattr(compressed, "thread_count", lambda threads=threads: threads)
        monkeypatch.setattr(in_threads, "thread_count", lambda threads=threads: threads)
        results.add(packed(tmp_path / "disk", kind))
    assert len(results) == 1


def test_a_gzip_has_no_time(tmp_path: Path) -> None:
    sample_disk(tmp_path / "disk")
    assert packed(tmp_path / "disk", "gz")[4:8] == bytes(4)


def test_an_xz_is_one_stream_that_says_its_size(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"x" * (33 * MIB))
    reader = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    assert len(reader.decompress(packed(tmp_path / "disk", "xz"))) == 33 * MIB
    assert reader.eof
    assert reader.unused_data == b""
    assert reader.check == lzma.CHECK_CRC32

"""Kernels out of what distributions install; what is cut off, too large or something else is refused."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import subprocess
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dibo.formats.kernels import image
from dibo.formats.kernels.errors import KernelImageError
from dibo.formats.kernels.image import uncompressed
from tests.support.kernel_images import IMAGE, VMLINUX, bzimage, zboot
from tests.support.requirements import need

XZ = lzma.compress(
    VMLINUX,
    check=lzma.CHECK_CRC32,
    filters=[{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "dict_size": 32 << 20}],
)
PACKED = {
    "bzip2": bzimage(bz2.compress(VMLINUX)),
    "gzip": bzimage(gzip.compress(VMLINUX), size=None),
    "lzma": bzimage(lzma.compress(VMLINUX, format=lzma.FORMAT_ALONE)),
    "nothing": bzimage(VMLINUX, size=None),
    "setup": bzimage(gzip.compress(VMLINUX), setup=4),
    "xz": bzimage(XZ),
    "zstd": bzimage(zstandard.ZstdCompressor(level=19).compress(VMLINUX)),
}


@pytest.mark.parametrize("kind", PACKED)
def test_bzimages(kind: str) -> None:
    found = uncompressed(PACKED[kind])
    assert found.startswith(VMLINUX), "the size may follow where nothing is compressed"
    assert len(found) <= len(VMLINUX) + 4


def test_a_bzimage_of_lz4(tmp_path: Path) -> None:
    need("lz4")
    (tmp_path / "vmlinux").write_bytes(VMLINUX * 30)  # 10 MiB: two blocks
    subprocess.run(["lz4", "-l", "-9", "-q", "vmlinux", "vmlinux.lz4"], cwd=tmp_path, check=True)
    packed = bzimage((tmp_path / "vmlinux.lz4").read_bytes(), size=len(VMLINUX) * 30)
    assert uncompressed(packed) == VMLINUX * 30


def test_kernels_that_are_not_packed() -> None:
    assert uncompressed(VMLINUX) == VMLINUX
    assert uncompressed(IMAGE) == IMAGE


def test_kernels_for_arm64() -> None:
    assert uncompressed(gzip.compress(IMAGE)) == IMAGE
    assert uncompressed(zboot(gzip.compress(IMAGE))) == IMAGE
    assert uncompressed(zboot(zstandard.ZstdCompressor().compress(IMAGE))) == IMAGE


@pytest.mark.parametrize(
    ("kernel", "says"),
    [
        (b"", "no kernel that dibo knows"),
        (b"#!/bin/sh\n" * 100, "no kernel that dibo knows"),
        (bzimage(gzip.compress(b"something else")), "holds no kernel"),
        (bzimage(b"\x99" * 100), "begins with 99 99"),
        (bzimage(gzip.compress(VMLINUX), version=0x0205), "before Linux 2.6.26"),
        (bzimage(gzip.compress(VMLINUX))[:5000], "ends before its payload"),
        (bzimage(gzip.compress(VMLINUX)[:-2000], size=None), "ends too early"),
        (bzimage(XZ[:200] + b"x" * 1000), "damaged|ends too early"),
        (zboot(b"")[:100], "ends before its payload"),
    ],
)
def test_what_is_refused(kernel: bytes, says: str) -> None:
    with pytest.raises(KernelImageError, match=says):
        uncompressed(kernel)


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd", "bzip2", "lzma"])
def test_a_bomb(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "LIMIT", 100_000)
    with pytest.raises(KernelImageError, match="more than 100000 bytes"):
        uncompressed(PACKED[kind])


@given(st.binary(max_size=600))
def test_any_bytes(data: bytes) -> None:
    for start in (b"", b"MZ\0\0zimg", b"\x1f\x8b", bytes(0x1F1) + b"\1" + bytes(16) + b"HdrS\x0f\x02"):
        with contextlib.suppress(KernelImageError):
            uncompressed(start + data)

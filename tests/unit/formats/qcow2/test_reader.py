"""The reader of qcow2, on what dibo writes and on headers that nobody should believe."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from dibo.errors import DiskImageError
from dibo.formats.qcow2.codec import Compression
from dibo.formats.qcow2.reader import Qcow2Source
from dibo.formats.qcow2.writer import Qcow2
from tests.support.disks.boot_disks import Bytes, survives

SIZE = 3_000_320
CLUSTER = 65536


def disk() -> bytes:
    words = random.Random(3)
    parts = [words.randbytes(CLUSTER), bytes(CLUSTER), b"words and words\n" * 4096]
    data = b"".join(words.choice(parts) for _ in range(SIZE // CLUSTER + 1))
    return data[: SIZE // 512 * 512]


def written(path: Path, compression: Compression) -> bytes:
    data = disk()
    with Qcow2(path, len(data), compression=compression) as target:
        target.write(0, [data])
    return path.read_bytes()


@pytest.mark.parametrize("compression", Compression)
def test_what_dibo_writes(tmp_path: Path, compression: Compression) -> None:
    data = disk()
    source = Qcow2Source(Bytes(written(tmp_path / "disk.qcow2", compression)), name="disk.qcow2")
    assert source.size == len(data)
    assert source.read(0, len(data)) == data
    for offset, size in (
        (CLUSTER - 3, 7),
        (5 * CLUSTER + 1, 3 * CLUSTER),
        (len(data) - 1, 1),
        (len(data), 0),
    ):
        assert source.read(offset, size) == data[offset : offset + size]
    for offset, size in ((len(data) - 1, 2), (-1, 1), (1 << 70, 1)):
        with pytest.raises(DiskImageError):
            source.read(offset, size)


@pytest.mark.parametrize(
    ("at", "form", "value", "words"),
    [
        (4, ">I", 1, "version 1"),
        (4, ">I", 9, "version 9"),
        (8, ">Q", 600, "backing file"),
        (20, ">I", 8, "clusters of 2\\^8"),
        (20, ">I", 40, "clusters of 2\\^40"),
        (24, ">Q", 1 << 60, "entries in the L1 table"),
        (32, ">I", 2, "encrypted"),
        (36, ">I", 0, "entries in the L1 table"),
        (36, ">I", 0xFFFFFFFF, "entries in the L1 table"),
        (40, ">Q", 1 << 60, "beyond the end"),
        (72, ">Q", 1 << 2, "another file"),
        (72, ">Q", 1 << 4, "extended L2"),
        (72, ">Q", 1 << 40, "features"),
        (104, ">B", 7, "unknown type 7"),
    ],
)
def test_headers_that_are_refused(tmp_path: Path, at: int, form: str, value: int, words: str) -> None:
    image = bytearray(written(tmp_path / "disk.qcow2", Compression.ZSTD))
    struct.pack_into(form, image, at, value)
    with pytest.raises(DiskImageError, match=words):
        Qcow2Source(Bytes(image), name="disk.qcow2").read(0, 512)


@pytest.mark.parametrize("compression", Compression)
def test_an_image_that_was_cut_off(tmp_path: Path, compression: Compression) -> None:
    image = written(tmp_path / "disk.qcow2", compression)
    with pytest.raises(DiskImageError):
        Qcow2Source(Bytes(image[: len(image) // 2]), name="disk.qcow2").read(0, SIZE // 512 * 512)


def test_a_frame_that_claims_to_be_enormous(tmp_path: Path) -> None:
    """zstd's header may say any size; nobody makes room for it."""
    image = bytearray(written(tmp_path / "disk.qcow2", Compression.ZSTD))
    frame = image.index(b"\x28\xb5\x2f\xfd")
    image[frame + 4 : frame + 13] = b"\xe0" + (1 << 50).to_bytes(8, "little")
    with pytest.raises(DiskImageError, match="damaged"):
        Qcow2Source(Bytes(image), name="disk.qcow2").read(0, SIZE // 512 * 512)


@pytest.mark.parametrize("compression", Compression)
def test_whatever_is_broken_is_an_error_or_none(tmp_path: Path, compression: Compression) -> None:
    image = written(tmp_path / "disk.qcow2", compression)
    l1 = struct.unpack_from(">Q", image, 40)[0]
    l2 = struct.unpack_from(">Q", image, l1)[0] & ((1 << 56) - 512)

    def use(broken: bytearray) -> None:
        source = Qcow2Source(Bytes(broken), name="disk.qcow2")
        source.read(0, min(source.size, 1 << 22))

    places = [range(112), range(l1, l1 + 8), range(l2, l2 + 8 * 46)]
    assert survives(image, use, times=60, near=places) > 10

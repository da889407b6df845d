"""qcow2 in the order of the file: of qemu-img and of dibo, at random, and broken."""

from __future__ import annotations

import random
import struct
import subprocess
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.formats.qcow2.codec import Compression
from dibo.formats.qcow2.writer import Qcow2 as Writer
from pull.errors import PullError
from pull.qcow2 import Qcow2
from tests.support.requirements import need

pytestmark = pytest.mark.slow

SIZE = (5 << 20) + 3 * 512


def disk(seed: int, size: int = SIZE) -> bytes:
    """Random runs of what compresses, what does not, and nothing."""
    source = random.Random(seed)
    found = bytearray()
    while len(found) < size:
        length = source.choice((512, 4096, 70_000, 300_000))
        found += source.choice((bytes(length), source.randbytes(length), b"dibo " * (length // 5)))
    return bytes(found[:size])


def made(tmp_path: Path, data: bytes, *options: str, convert: tuple[str, ...] = ()) -> bytes:
    """By qemu-img, with its options."""
    need("qemu-img")
    raw, image = tmp_path / "raw", tmp_path / "image.qcow2"
    raw.write_bytes(data)
    given = ["-o", ",".join(options)] if options else []
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *convert, *given, str(raw), str(image)]
    subprocess.run(argv, check=True, capture_output=True)
    return image.read_bytes()


def opened(image: bytes) -> Qcow2:
    return Qcow2(lambda offset, size: image[offset : offset + size], len(image), room=1 << 40)


def pieces(image: bytes, seed: int = 7) -> Iterator[bytes]:
    source, at = random.Random(seed), 0
    while at < len(image):
        size = source.choice((1000, 65_536, 1 << 20))
        yield image[at : at + size]
        at += size


def unpacked(image: bytes) -> bytes:
    """The disk, from what was something else before."""
    found = opened(image)
    result = bytearray(b"\xaa" * found.size)
    for offset, size in found.gaps():
        result[offset : offset + size] = bytes(size)
    for offset, data in found.unpack(pieces(image)):
        result[offset : offset + len(data)] = data
    return bytes(result)


@pytest.mark.parametrize(
    ("options", "convert"),
    [
        ((), ()),
        ((), ("-c",)),
        (("compression_type=zstd",), ("-c",)),
        (("compat=0.10",), ("-c",)),
        (("cluster_size=512",), ("-c",)),
        (("cluster_size=2M", "compression_type=zstd"), ("-c",)),
        (("lazy_refcounts=on", "preallocation=metadata"), ()),
        ((), ("-c", "-W", "-m", "8")),
    ],
    ids=[
        "plain",
        "zlib",
        "zstd",
        "version 2",
        "small clusters",
        "large ones",
        "preallocated",
        "out of order",
    ],
)
def test_images_of_qemu(tmp_path: Path, options: tuple[str, ...], convert: tuple[str, ...]) -> None:
    data = disk(1)
    image = made(tmp_path, data, *options, convert=convert)
    assert unpacked(image) == data
    assert opened(image).beginning(1 << 20) == data[: 1 << 20]


@pytest.mark.parametrize("kind", ["none", "zlib", "zstd"])
def test_images_of_dibo(tmp_path: Path, kind: str) -> None:
    data, path = disk(2), tmp_path / "image.qcow2"
    with Writer(path, len(data), compression=Compression(kind)) as target:
        for start in range(0, len(data), 1 << 20):
            target.write(start, [data[start : start + (1 << 20)]])
    assert unpacked(path.read_bytes()) == data


def test_an_image_that_was_written_to_and_has_snapshots(tmp_path: Path) -> None:
    """Clusters of its past are in the file, and not on the disk."""
    need("qemu-img", "qemu-io")
    made(tmp_path, disk(3))
    image = tmp_path / "image.qcow2"
    for argv in (
        ["qemu-img", "snapshot", "-c", "before", str(image)],
        ["qemu-io", "-c", "write -P 7 64k 128k", "-c", "write -z 1M 1M", "-c", "discard 3M 512k", str(image)],
        ["qemu-img", "convert", "-O", "raw", str(image), str(tmp_path / "now")],
    ):
        subprocess.run(argv, check=True, capture_output=True)
    assert unpacked(image.read_bytes()) == (tmp_path / "now").read_bytes()


def test_an_empty_disk(tmp_path: Path) -> None:
    image = made(tmp_path, bytes(3 << 20))
    assert list(opened(image).gaps()) == [(0, 3 << 20)]
    assert list(opened(image).unpack([image])) == []


def test_tables_that_came_otherwise_than_they_were_read(tmp_path: Path) -> None:
    """The server has two versions of the file: one for ranges, one for the stream."""
    first = made(tmp_path, disk(4))
    found = opened(first)
    (l1,) = struct.unpack_from(">Q", first, 40)
    for at in (30, l1 + 7, struct.unpack_from(">Q", first, l1)[0] % (1 << 56) + 5):
        other = bytearray(first)
        other[at] ^= 0x40
        with pytest.raises(PullError, match="changed while it was read"):
            list(found.unpack([bytes(other)]))


def changed(image: bytes, at: int, form: str, value: int) -> bytes:
    found = bytearray(image)
    struct.pack_into(form, found, at, value)
    return bytes(found)


@pytest.mark.parametrize(
    ("at", "form", "value", "said"),
    [
        (4, ">I", 4, "version 4"),
        (20, ">I", 30, r"clusters of 2\^30"),
        (8, ">Q", 4096, "only the difference to another file"),
        (32, ">I", 2, "encrypted"),
        (72, ">Q", 1 << 2, "its data in another file"),
        (72, ">Q", 1 << 4, "extended L2 entries"),
        (72, ">Q", 1 << 40, "features 0x"),
        (36, ">I", 0, "0 entries in the L1 table"),
        (24, ">Q", 1 << 62, "entries in the L1 table"),
        (40, ">Q", 1 << 50, "refers to byte"),
    ],
)
def test_headers_that_are_not_understood(tmp_path: Path, at: int, form: str, value: int, said: str) -> None:
    image = changed(made(tmp_path, disk(5)), at, form, value)
    with pytest.raises(PullError, match=said):
        opened(image)


def test_what_is_cut_or_broken_is_told_and_nothing_else_happens(tmp_path: Path) -> None:
    image = made(tmp_path, disk(6), convert=("-c",))
    with pytest.raises(PullError, match="damaged"):
        list(opened(image).unpack([image[:-70_000]]))
    source = random.Random(7)
    for _ in range(100):
        broken = bytearray(image)
        for _ in range(source.randint(1, 4)):
            broken[source.randrange(0, len(broken) if source.random() < 0.5 else 200_000)] = source.randrange(
                256
            )
        try:
            found = opened(bytes(broken))
            written = sum(len(data) for _, data in found.unpack([bytes(broken)]))
        except PullError:
            continue
        assert written <= 2 * SIZE


def test_too_many_clusters_are_refused_before_memory_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pull.qcow2._MOST_CLUSTERS", 10)
    image = made(tmp_path, disk(7))
    with pytest.raises(PullError, match="more than 10 clusters of 65536 bytes in use"):
        opened(image)


def header(*, size: int, bits: int, l1_entries: int, l1_offset: int = 512) -> bytes:
    return struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, bits, size, 0, l1_entries, l1_offset, 0, 0, 0, 0
    )


def test_sizes_are_compared_before_a_table_is_read() -> None:
    """A table of 32 MiB has four million pointers, each of which would be a request."""
    asked = []

    def read(offset: int, size: int) -> bytes:
        asked.append((offset, size))
        return header(size=4 << 41, bits=16, l1_entries=1 << 14).ljust(4096, b"\0")[offset : offset + size]

    with pytest.raises(PullError, match="the disk is too small"):
        Qcow2(read, 100 << 20, room=1 << 30)
    assert asked == [(0, 4096)]


def test_pointers_to_more_tables_than_the_file_has_room_for() -> None:
    size, entries = 1 << 37, 1 << 22  # clusters of 512 bytes: a table for each 32 KiB
    pointers = array("Q", range(512, (entries + 1) << 9, 512))
    pointers.byteswap()
    l1 = pointers.tobytes()
    start = header(size=size, bits=9, l1_entries=entries).ljust(512, b"\0")
    data, asked = start + l1, []

    def read(offset: int, size: int) -> bytes:
        asked.append(offset)
        return data[offset : offset + size]

    with pytest.raises(PullError, match="4194304 tables in"):
        Qcow2(read, len(data), room=size)
    assert len(asked) == 2


def test_tables_are_asked_for_in_few_requests(tmp_path: Path) -> None:
    """With small clusters there are many, and most of a preallocated image's lie side by side."""
    image = made(tmp_path, disk(8), "cluster_size=512", "preallocation=metadata")
    asked = []

    def read(offset: int, size: int) -> bytes:
        asked.append(offset)
        return image[offset : offset + size]

    Qcow2(read, len(image), room=SIZE)
    assert len(asked) < 200


def test_tables_in_too_many_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pull.qcow2._MOST_REQUESTS", 10)
    image = made(tmp_path, disk(9), "cluster_size=512")
    with pytest.raises(PullError, match=r"tables in \d+ places, more than 10"):
        opened(image)


def test_two_parts_of_a_disk_with_one_table(tmp_path: Path) -> None:
    image = bytearray(made(tmp_path, disk(10, 70 << 20), "cluster_size=4k"))
    (l1,) = struct.unpack_from(">Q", image, 40)
    image[l1 + 8 : l1 + 16] = image[l1 : l1 + 8]
    with pytest.raises(PullError, match="two parts of the disk have one table"):
        opened(bytes(image))

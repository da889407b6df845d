"""qcow2: read back by a reader of its own, and looked at byte by byte where QEMU is particular."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from pathlib import Path

import pytest

from dibo.errors import OutputError, UsageError
from dibo.formats.open_target import copy_raw, open_target
from dibo.formats.qcow2 import writer
from dibo.formats.qcow2.allocation import ClusterMap, Space
from dibo.formats.qcow2.codec import Compression, compress, decompress
from dibo.formats.qcow2.format import CLUSTER, compressed_entry, extent, table_entry
from dibo.formats.qcow2.writer import Qcow2
from dibo.tree.node import Buffer
from dibo.units import MIB
from tests.support.readers.qcow2_reader import Qcow2File, read_qcow2
from tests.support.requirements import need

pytestmark = pytest.mark.slow

KINDS = list(Compression)
TEXT = (b"the quick brown fox %d jumps over the lazy dog\n" * 2000)[:CLUSTER]
NOISE = random.Random(1).randbytes(CLUSTER)


def write(
    path: Path,
    size: int,
    *writes: tuple[int, bytes],
    compression: Compression = Compression.ZLIB,
    threads: int | None = None,
) -> Path:
    with Qcow2(path, size, compression=compression, threads=threads) as disk:
        for offset, data in writes:
            disk.write(offset, [data])
    return path


def disk_of(size: int, *writes: tuple[int, bytes]) -> bytes:
    disk = bytearray(size)
    for offset, data in writes:
        disk[offset : offset + len(data)] = data
    return bytes(disk)


@pytest.mark.parametrize("compression", KINDS)
@pytest.mark.parametrize("size", [1, 512, CLUSTER - 1, CLUSTER, CLUSTER + 1, 40 * CLUSTER + 1000])
def test_what_is_written_is_read(tmp_path: Path, compression: Compression, size: int) -> None:
    """First and last byte, text, noise and zeros, on sizes that are no whole clusters."""
    data = (TEXT + NOISE + bytes(CLUSTER)) * 14
    path = write(
        tmp_path / "disk", size, (0, b"a" + data[: size - 1][:-1] + b"z"[: size - 1]), compression=compression
    )
    found = read_qcow2(path)
    assert len(found) == -(-size // 512) * 512
    assert found == (b"a" + data[: size - 1][:-1] + b"z"[: size - 1]).ljust(len(found), b"\0")
    assert Qcow2File(path).compression == (compression is Compression.ZSTD)


def test_an_empty_disk_is_small(tmp_path: Path) -> None:
    path = write(tmp_path / "disk", 1 << 40)
    file = Qcow2File(path)
    file.check()
    assert (file.size, file.l1_size, list(file.entries())) == (1 << 40, 2048, [])
    assert path.stat().st_size == 4 * CLUSTER


def test_a_large_disk_takes_what_is_written(tmp_path: Path) -> None:
    size = (1 << 40) + 512
    writes = ((0, TEXT), (size // 2 - 5, NOISE), (size - 512, b"x" * 512))
    file = Qcow2File(write(tmp_path / "disk", size, *writes))
    file.check()
    found = {number: file.cluster_of(entry) for number, entry in file.entries()}
    middle = (size // 2 - 5) // CLUSTER
    assert list(found) == [0, middle, middle + 1, size // CLUSTER]
    assert found[0] == TEXT
    assert (found[middle] + found[middle + 1])[(size // 2 - 5) % CLUSTER :][:CLUSTER] == NOISE
    assert found[size // CLUSTER] == (b"x" * 512).ljust(CLUSTER, b"\0")


@pytest.mark.parametrize("compression", KINDS)
def test_zeros_are_not_stored(tmp_path: Path, compression: Compression) -> None:
    path = write(tmp_path / "disk", 40 * CLUSTER, (0, bytes(40 * CLUSTER)), compression=compression)
    assert list(Qcow2File(path).entries()) == []
    path = write(
        tmp_path / "disk", 4 * CLUSTER, (5, bytes(CLUSTER)), (2 * CLUSTER, TEXT), compression=compression
    )
    assert [number for number, _ in Qcow2File(path).entries()] == [2]


def test_what_does_not_shrink_is_stored_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "disk", 4 * CLUSTER, (0, NOISE + TEXT + NOISE))
    file = Qcow2File(path)
    assert [file.is_compressed(entry) for _, entry in file.entries()] == [False, True, False]
    assert read_qcow2(path) == (NOISE + TEXT + NOISE).ljust(4 * CLUSTER, b"\0")
    assert path.stat().st_blocks * 512 < 4 * CLUSTER + 16 * 4096 * 4


def test_clusters_of_both_kinds_lose_little_space(tmp_path: Path) -> None:
    """If they took turns in one row, about half a cluster would be lost at each turn."""
    half = NOISE[: CLUSTER // 2] + bytes(CLUSTER // 2)
    number = 400
    data = (NOISE + half) * (number // 2)
    path = write(tmp_path / "disk", number * CLUSTER, (0, data))
    assert read_qcow2(path) == data
    least = number * CLUSTER * 3 // 4
    assert path.stat().st_size < least * 1.02 + 2 * MIB  # and what is left of the last stretch


@pytest.mark.parametrize("distance", [300, 4096, 4097, 32000])
def test_qemu_reads_distances_beyond_its_window(tmp_path: Path, distance: int) -> None:
    """QEMU reads with inflateInit2(-12), a window of 4 KiB, but a cluster in one call."""
    need("qemu-img")
    random_bytes = random.Random(distance).randbytes(distance)
    data = (random_bytes * (CLUSTER // distance + 1))[:CLUSTER]
    path = write(tmp_path / "disk", CLUSTER, (0, data))
    raw = tmp_path / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", path, raw], check=True)
    assert raw.read_bytes() == data
    (packed,) = compress(Compression.ZLIB, [data])
    assert packed is not None
    assert len(packed) < distance + 2048  # what is said twice is packed once


@pytest.mark.parametrize("compression", [Compression.ZLIB, Compression.ZSTD])
def test_what_follows_compressed_data_does_not_matter(compression: Compression) -> None:
    (packed,) = compress(compression, [TEXT])
    assert packed is not None
    assert decompress(compression, packed + NOISE[:500]) == TEXT


def test_the_header_is_that_of_qemu(tmp_path: Path) -> None:
    path = write(tmp_path / "disk", CLUSTER, (0, TEXT), compression=Compression.ZSTD)
    names = Qcow2File(path).extensions[0x6803F857]
    assert len(names) == 8 * 48
    assert names[:48] == b"\0\0dirty bit".ljust(48, b"\0")
    assert names[3 * 48 :][:48] == b"\0\3compression type".ljust(48, b"\0")


def test_the_same_writes_give_the_same_bytes(tmp_path: Path) -> None:
    """However many threads there are. Pinned: a change here changes every qcow2, and belongs into the changelog;
    only another version of the library that compresses may do so too."""
    writes = [(index * CLUSTER, NOISE if index % 7 == 3 else TEXT) for index in range(200)]
    writes += [(300 * CLUSTER + 77, TEXT), (301 * CLUSTER + 77, TEXT[:9])]
    one = write(tmp_path / "1", 400 * CLUSTER, *writes, threads=1).read_bytes()
    for threads in (2, 7):
        assert write(tmp_path / "n", 400 * CLUSTER, *writes, threads=threads).read_bytes() == one
    stored = write(tmp_path / "0", 400 * CLUSTER, *writes, compression=Compression.NONE).read_bytes()
    assert (
        hashlib.sha256(stored).hexdigest()
        == "3fdec46740fcd11c90a8ebf73664be85c560047e1851e1b00f3fd84b6eae346f"
    )


def test_buffers_may_change_after_the_call(tmp_path: Path) -> None:
    with Qcow2(tmp_path / "disk", 20 * CLUSTER) as disk:
        for index in range(20):
            buffer = bytearray(TEXT)
            buffer[0] = index
            disk.write(index * CLUSTER, [memoryview(buffer)[:100], buffer[100:200], memoryview(buffer)[200:]])
            buffer[:] = NOISE
            whole = bytearray(TEXT)
            whole[0] = index + 100
            if index % 2:
                disk.discard(index * CLUSTER, CLUSTER)
                disk.write(index * CLUSTER, [whole])
                whole[:] = NOISE
    found = read_qcow2(tmp_path / "disk")
    for index in range(20):
        first = index + 100 if index % 2 else index
        assert found[index * CLUSTER : (index + 1) * CLUSTER] == bytes([first]) + TEXT[1:]


@pytest.mark.parametrize("compression", KINDS)
def test_what_was_finished_can_be_discarded_and_written_again(
    tmp_path: Path, compression: Compression
) -> None:
    size = 40 * CLUSTER
    model = bytearray((TEXT + NOISE) * 20)
    with Qcow2(tmp_path / "disk", size, compression=compression) as disk:
        disk.write(0, [bytes(model)])
        for offset, length in (
            (100, 5),
            (3 * CLUSTER, 3 * CLUSTER),
            (8 * CLUSTER - 9, CLUSTER + 20),
            (size - 1, 1),
        ):
            disk.discard(offset, length)
            model[offset : offset + length] = bytes(length)
        for offset, data in ((101, b"new"), (4 * CLUSTER, NOISE), (8 * CLUSTER - 9, TEXT)):
            disk.write(offset, [data])
            model[offset : offset + len(data)] = data
    assert read_qcow2(tmp_path / "disk") == model


def test_a_large_discard_looks_only_at_what_there_is(tmp_path: Path) -> None:
    with Qcow2(tmp_path / "disk", 1 << 44) as disk:
        disk.write(5 << 40, [TEXT])
        disk.write(9 << 40, [TEXT])
        disk.discard(1, (1 << 44) - 2)
        disk.write(3 << 40, [TEXT])
    file = Qcow2File(tmp_path / "disk")
    file.check()
    assert [number for number, _ in file.entries()] == [(3 << 40) // CLUSTER]
    assert sum(1 for entry in file.l1 if entry) == 1, "tables without entries are left out"


def test_few_clusters_wait(tmp_path: Path) -> None:
    """A cluster that is never completed does not stay in memory for ever, and can be gone on with."""
    number = 3 * writer._WAITING
    with Qcow2(tmp_path / "disk", number * CLUSTER) as disk:
        for half in (0, 40_000):
            for index in range(number):
                disk.write(index * CLUSTER + half, [b"%d and %d" % (index, half)])
                assert len(disk._parts) <= writer._WAITING
    file = Qcow2File(tmp_path / "disk")
    file.check()
    for index, entry in file.entries():
        cluster = file.cluster_of(entry)
        assert cluster.startswith(b"%d and 0\0" % index)
        assert cluster[40_000:].startswith(b"%d and 40000\0" % index)


def test_nothing_is_a_qcow2_before_it_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    with pytest.raises(RuntimeError), Qcow2(path, 100 * CLUSTER) as disk:
        disk.write(0, [TEXT * 100])
        raise RuntimeError
    assert not path.read_bytes()[:4].strip(b"\0")


def test_what_the_file_held_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(NOISE * 100)
    assert (
        write(path, CLUSTER, (0, TEXT)).read_bytes() == write(tmp_path / "2", CLUSTER, (0, TEXT)).read_bytes()
    )


@pytest.mark.parametrize("compression", KINDS)
def test_a_full_disk_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: Compression
) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    real = os.pwritev

    def full(fd: int, buffers: list[Buffer], offset: int) -> int:
        if offset > 200_000:
            raise OSError(28, "No space left on device")
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "pwritev", full)
    name = Path("out/web.qcow2")
    with (
        pytest.raises(OutputError, match=r"cannot write out/web\.qcow2: the disk is full"),
        Qcow2(tmp_path / "disk", 4000 * CLUSTER, compression=compression, name=name) as disk,
    ):
        for index in range(4000):
            disk.write(index * CLUSTER, [NOISE])
        pytest.fail("the error comes as soon as it can")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*nowhere/disk: No such file"):
        Qcow2(tmp_path / "nowhere" / "disk", CLUSTER)


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (CLUSTER, 1), (CLUSTER - 1, 2)])
def test_what_is_not_on_the_disk(tmp_path: Path, offset: int, size: int) -> None:
    with Qcow2(tmp_path / "disk", CLUSTER) as disk:
        with pytest.raises(ValueError, match="are not on a disk of"):
            disk.write(offset, [b"x" * size])
        with pytest.raises(ValueError, match="are not on a disk of"):
            disk.discard(offset, size)


def test_entries_say_sectors() -> None:
    """An extent in an entry ends with the sector in which the data ends (qcow2.txt, Compressed Clusters Descriptor)."""
    for offset, size, sectors in ((512, 512, 1), (513, 512, 2), (1000, 24, 1), (1000, 25, 2), (65535, 2, 2)):
        entry = compressed_entry(offset, size)
        assert entry >> 54 == 1 << 8 | sectors - 1
        start, length = extent(entry)
        assert (start, start + length) == (offset, (offset // 512 + sectors) * 512)
    assert extent(table_entry(7 * CLUSTER)) == (7 * CLUSTER, CLUSTER)


def test_files_with_many_refcount_blocks() -> None:
    """One block counts 2 GiB of the file; the clusters of refcounts are counted too, and may need one more block."""
    for clusters in (*range(32_757, 32_764), 70_000):
        space, disk = Space(), ClusterMap()
        for index in range(clusters):
            disk.set(index, space.put_whole()[1])
        parts = dict(space.finish(disk, size=clusters * CLUSTER, compression=0))
        offset, blocks = next((at, data) for at, data in parts.items() if data[:4] == b"\0\1\0\1")
        assert offset + len(blocks) == space.length
        counted = memoryview(blocks).cast("H")
        assert len(counted) >= space.length // CLUSTER
        assert sum(1 for count in counted if count) == clusters + len(parts) - 1 + len(blocks) // CLUSTER
        assert all(counted[index] for index in range(clusters + 1))


def test_compressed_data_is_packed_without_gaps() -> None:
    space = Space()
    assert [space.put_compressed(40_000)[0] for _ in range(200)] == [
        CLUSTER + index * 40_000 for index in range(200)
    ]


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_disks_by_type(tmp_path: Path, kind: str) -> None:
    with open_target(kind, tmp_path / "disk", CLUSTER, {}) as disk:
        disk.write(0, [TEXT])
    assert (tmp_path / "disk").read_bytes().startswith(b"QFI\xfb") == (kind == "qcow2")


@pytest.mark.parametrize(("word", "type"), [("zlib", 0), ("zstd", 1), ("none", 0), ("", 0)])
def test_the_variable_for_compression(tmp_path: Path, word: str, type: int) -> None:
    options = {"DIBO_QCOW2_COMPRESSION": word}
    with open_target("qcow2", tmp_path / "disk", CLUSTER, options) as disk:
        disk.write(0, [TEXT])
    file = Qcow2File(tmp_path / "disk")
    assert file.compression == type
    assert [file.is_compressed(entry) for _, entry in file.entries()] == [word != "none"]


def test_a_compression_that_is_none_of_ours(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="DIBO_QCOW2_COMPRESSION is 'lzma'") as caught:
        open_target("qcow2", tmp_path / "disk", CLUSTER, {"DIBO_QCOW2_COMPRESSION": "lzma"})
    assert "zlib, zstd, none" in caught.value.hint
    assert not (tmp_path / "disk").exists()


def test_a_raw_disk_becomes_a_qcow2(tmp_path: Path) -> None:
    writes = ((0, TEXT), (5 * CLUSTER + 100, NOISE * 30), (100 * CLUSTER - 3, b"end"))
    disk = disk_of(100 * CLUSTER + 1024, *writes)
    with (tmp_path / "raw").open("wb") as raw:
        raw.truncate(len(disk))
        for offset, data in writes:
            raw.seek(offset)
            raw.write(data)
    with (tmp_path / "raw").open("rb") as source, Qcow2(tmp_path / "disk", len(disk)) as target:
        copy_raw(source, target)
    assert read_qcow2(tmp_path / "disk") == disk

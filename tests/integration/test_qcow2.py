"""qcow2 as QEMU sees it: no errors, the same disk as the raw one, and back."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dibo.formats.open_target import copy_raw
from dibo.formats.qcow2.codec import Compression, compress
from dibo.formats.qcow2.format import CLUSTER
from dibo.formats.qcow2.writer import Qcow2
from dibo.formats.raw import RawFile
from dibo.formats.tee import Tee
from dibo.units import GIB, TIB
from tests.properties.test_qcow2 import SIZE, apply, small_limits, steps
from tests.support.requirements import need
from tests.unit.disk.sample_requests import Memory, output_of

pytestmark = pytest.mark.integration

SIZES = [512, CLUSTER - 512, CLUSTER, CLUSTER + 512, 700 * CLUSTER + 1536, 3 * GIB, TIB + 512]
NOISE = random.Random(3).randbytes(CLUSTER)


@pytest.fixture(autouse=True)
def _qemu() -> None:
    need("qemu-img")


def info(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output_of("qemu-img", "info", "--output=json", path))
    return found


def agree(disk: Path, raw: Path) -> dict[str, Any]:
    """`qemu-img check` finds nothing at all to say, and both hold the same."""
    checked: dict[str, Any] = json.loads(output_of("qemu-img", "check", "--output=json", disk))
    assert checked["check-errors"] == 0
    assert {"leaks", "corruptions"} & checked.keys() == set()
    assert checked["image-end-offset"] == disk.stat().st_size
    assert "identical" in output_of("qemu-img", "compare", disk, raw)
    return checked


def samples(size: int) -> Iterator[tuple[int, bytes]]:
    """First and last bytes, and of everything something between."""
    yield 0, b"first"
    yield size - 5, b"last."
    if size > 100 * CLUSTER:
        words = random.Random(size)
        for _ in range(300):
            at = words.randrange(CLUSTER, size - 4 * CLUSTER) // (4 * CLUSTER) * 4 * CLUSTER + 4096
            yield at, [NOISE * 2, b"words and words\n" * 5000, bytes(CLUSTER), b"x"][words.randrange(4)]


@pytest.mark.parametrize("compression", Compression)
@pytest.mark.parametrize("size", SIZES)
def test_qemu_agrees(tmp_path: Path, compression: Compression, size: int) -> None:
    disk, raw = tmp_path / "disk.qcow2", tmp_path / "disk.raw"
    with Qcow2(disk, size, compression=compression) as one, RawFile(raw, size) as other:
        for offset, data in dict(samples(size)).items():
            Tee(one, other).write(offset, [data])
    checked = agree(disk, raw)
    found = info(disk)
    assert (found["virtual-size"], found["cluster-size"]) == (size, CLUSTER)
    details = found["format-specific"]["data"]
    assert details["compat"] == "1.1"
    assert details["compression-type"] == ("zstd" if compression is Compression.ZSTD else "zlib")
    assert ("compressed-clusters" in checked) == (compression is not Compression.NONE)
    if size < GIB:
        output_of("qemu-img", "convert", "-O", "raw", disk, tmp_path / "back.raw")
        assert (tmp_path / "back.raw").read_bytes() == raw.read_bytes()


@pytest.mark.parametrize("compression", Compression)
def test_a_raw_disk_in_full(tmp_path: Path, compression: Compression) -> None:
    """Some hundred MiB, so that threads have something to do; and QEMU may write to it afterwards."""
    raw, disk = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    words = random.Random(5)
    with raw.open("wb") as file:
        for index in range(3000):
            file.write(NOISE if index % 5 == 0 else b"%d " % words.getrandbits(64) * (CLUSTER // 21))
            file.seek((words.random() < 0.1) * words.randrange(1 << 20), 1)
        file.truncate(file.tell() + 12345 * 512)
    with raw.open("rb") as source, Qcow2(disk, raw.stat().st_size, compression=compression) as target:
        copy_raw(source, target)
    agree(disk, raw)
    output_of("qemu-io", "-c", "write -P 7 100000 500000", "-c", "discard 1M 3M", disk)
    output_of("qemu-io", "-f", "raw", "-c", "write -P 7 100000 500000", "-c", "write -z 1M 3M", raw)
    agree(disk, raw)


@settings(max_examples=30)
@given(steps=steps, compression=st.sampled_from(Compression), waiting=st.integers(1, 6))
def test_what_is_written_twice_or_discarded(
    steps: list[tuple[str, tuple[int, int]]], compression: Compression, waiting: int
) -> None:
    model = Memory(SIZE)
    with tempfile.TemporaryDirectory() as directory:
        disk, raw = Path(directory) / "disk.qcow2", Path(directory) / "disk.raw"
        with small_limits(waiting), Qcow2(disk, SIZE, compression=compression) as target:
            apply(steps, target, model)
        raw.write_bytes(model.data)
        agree(disk, raw)


def test_the_same_cluster_gives_the_same_bytes_whatever_other_threads_do() -> None:
    """ISA-L, which packed clusters before, gave another result for one of some ten thousand, and only among threads: so
    thousands of real clusters, again and again, in batches that other threads get each time."""
    clusters = _of_this_machine(5000)
    batches = [clusters[start : start + 16] for start in range(0, len(clusters), 16)]
    with ThreadPoolExecutor(4) as pool:

        def all_of_them() -> list[list[bytes | None]]:
            return list(pool.map(partial(compress, Compression.ZLIB), batches))

        first = all_of_them()
        for _ in range(5):
            assert sum(a != b for a, b in zip(all_of_them(), first, strict=True)) == 0


def _of_this_machine(count: int) -> list[bytes]:
    """Clusters of programs, libraries and texts."""
    found: list[bytes] = []
    files = [
        path
        for top in ("/usr/lib/python3", "/usr/lib/x86_64-linux-gnu", "/usr/bin")
        for path in Path(top).rglob("*")
    ]
    random.Random(1).shuffle(files)
    for path in files:
        if len(found) < count and path.is_file() and not path.is_symlink():
            data = path.read_bytes()[: 40 * CLUSTER]
            found += [data[at : at + CLUSTER].ljust(CLUSTER, b"\0") for at in range(0, len(data), CLUSTER)]
    return found[:count]

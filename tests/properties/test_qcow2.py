"""Any sequence of writes and discards leaves in a qcow2 what it leaves in memory."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from dibo.formats.qcow2 import writer
from dibo.formats.qcow2.codec import Compression
from dibo.formats.qcow2.format import CLUSTER
from dibo.formats.qcow2.writer import Qcow2
from dibo.formats.target import Target
from tests.support.readers.qcow2_reader import read_qcow2
from tests.unit.disk.sample_requests import Memory

SIZE = 24 * CLUSTER + 1536
# Where things happen: near the borders of clusters most of all.
places = st.one_of(
    st.integers(0, SIZE),
    st.builds(lambda index, near: index * CLUSTER + near, st.integers(0, 24), st.integers(-2, 2)),
).map(lambda place: min(max(place, 0), SIZE))
ranges = st.tuples(places, places).map(lambda both: (min(both), max(both)))
kinds = st.sampled_from(["text", "noise", "zeros", "cut", "discard"])
steps = st.lists(st.tuples(kinds, ranges), max_size=12)
NOISE = random.Random(7).randbytes(SIZE)
TEXT = (b"all work and no play makes jack a dull boy\n" * (SIZE // 40))[:SIZE]


@contextmanager
def small_limits(waiting: int) -> Iterator[None]:
    """Clusters are given up early and in small batches, so that all that is rare happens."""
    with mock.patch.multiple(writer, _WAITING=waiting, _BATCH=3):
        yield


def apply(steps: list[tuple[str, tuple[int, int]]], *targets: Target) -> None:
    for kind, (start, end) in steps:
        source = {"noise": NOISE, "zeros": bytes(SIZE)}.get(kind, TEXT)
        data = memoryview(source)[start:end]
        size = 9973 if kind == "cut" else SIZE
        for target in targets:
            if kind == "discard":
                target.discard(start, end - start)
            else:
                target.write(start, [data[at : at + size] for at in range(0, len(data), size)])


@settings(max_examples=60)
@given(steps=steps, compression=st.sampled_from(Compression), waiting=st.integers(1, 6))
def test_it_is_a_disk(
    steps: list[tuple[str, tuple[int, int]]], compression: Compression, waiting: int
) -> None:
    model = Memory(SIZE)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "disk"
        with small_limits(waiting), Qcow2(path, SIZE, compression=compression, threads=2) as disk:
            apply(steps, disk, model)
        assert read_qcow2(path) == model.data

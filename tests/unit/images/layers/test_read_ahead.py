"""Layers that were read ahead are as if they were read when their turn came, and so is what is wrong with them."""

from __future__ import annotations

import random
import shutil
import threading
from collections import namedtuple
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from dibo.errors import VerificationFailed
from dibo.images.image import Layer, Reader
from dibo.images.layers.kept_layers import KeptLayers
from dibo.images.layers.limits import Limits
from dibo.images.layers.load import load
from dibo.images.layers.read_ahead import LEAST, ReadAhead
from dibo.images.layers.unpacked import UnpackedLayer
from tests.support.images.tar_layers import MemorySink, file, layer, listing
from tests.support.timeouts import TIMEOUT

Usage = namedtuple("Usage", "free")


def nothing_kept(directory: Path) -> KeptLayers:
    return KeptLayers(directory / "kept", boot="")


def large(seed: int) -> Layer:
    return layer(file(b"large", random.Random(seed).randbytes(LEAST)), file(b"%d" % seed, b"of this layer"))


def read(layers: Sequence[Layer]) -> dict[str, str]:
    sink = MemorySink()
    tree = load(layers, sink)
    return listing(tree, sink)


def read_ahead(
    directory: Path, layers: Sequence[Layer], *, opened: threading.Event | None = None
) -> list[bool]:
    """Which of them are read ahead; what they say is compared."""
    with ReadAhead(directory, nothing_kept(directory), Limits()) as ahead:
        with ahead.meanwhile(layers):
            if opened is not None:
                assert opened.wait(TIMEOUT)
        result = ahead.layers(layers)
        assert read(result) == read(layers)
    assert list(directory.iterdir()) == []
    return [isinstance(one, UnpackedLayer) for one in result]


def noticed(one: Layer) -> tuple[Layer, threading.Event]:
    """The layer, and what is set when it is opened."""
    opened = threading.Event()

    def open_it() -> AbstractContextManager[Reader]:
        opened.set()
        return one.open()

    return replace(one, open=open_it), opened


def test_the_same_tree(tmp_path: Path) -> None:
    """The one at hand when the body ends is read to its end. Small ones are not worth it."""
    first, opened = noticed(large(1))
    assert read_ahead(tmp_path, [layer(file(b"small", b"x")), first], opened=opened) == [False, True]


def test_the_largest_comes_first(tmp_path: Path) -> None:
    order: list[int] = []
    done = threading.Event()

    def opening(number: int, one: Layer) -> Layer:
        def open_it() -> AbstractContextManager[Reader]:
            order.append(number)
            if number == 1:
                done.set()
            return one.open()

        return replace(one, open=open_it)

    larger = layer(file(b"larger", random.Random(3).randbytes(2 * LEAST)))
    with (
        ReadAhead(tmp_path, nothing_kept(tmp_path), Limits()) as ahead,
        ahead.meanwhile([opening(1, large(1)), opening(2, larger)]),
    ):
        assert done.wait(TIMEOUT)
    assert order == [2, 1]


def test_bytes_that_are_wrong_are_told_when_their_turn_comes(tmp_path: Path) -> None:
    wrong, opened = noticed(replace(large(1), diff_id=large(2).diff_id, digest=None))
    with ReadAhead(tmp_path, nothing_kept(tmp_path), Limits()) as ahead:
        with ahead.meanwhile([wrong]):
            assert opened.wait(TIMEOUT)
        layers = ahead.layers([wrong])
        assert list(tmp_path.iterdir()) == []
    assert layers == (wrong,)
    with pytest.raises(VerificationFailed):
        read(layers)


def test_half_of_the_room_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, opened = noticed(large(1))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=2 * LEAST - 1))
    assert read_ahead(tmp_path, [one], opened=opened) == [False]


def test_a_failure_ends_it(tmp_path: Path) -> None:
    before = threading.active_count()
    first, opened = noticed(large(1))

    def fail() -> None:
        with (
            ReadAhead(tmp_path, nothing_kept(tmp_path), Limits()) as ahead,
            ahead.meanwhile([first, large(2)]),
        ):
            assert opened.wait(TIMEOUT)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert threading.active_count() == before
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_is_not_read_again(tmp_path: Path) -> None:
    """Not until the machine starts anew; and beyond its limit, what was not used for the longest time goes."""
    one, opened = noticed(large(1))
    (tmp_path / "run").mkdir()

    def ahead(boot: str = "1", most: int = 8 * LEAST) -> ReadAhead:
        kept = KeptLayers(tmp_path / "kept", boot=boot, most=most)
        return ReadAhead(tmp_path / "run", kept, Limits())

    with ahead() as reading, reading.meanwhile([one]):
        assert opened.wait(TIMEOUT)
    for boot, is_read in (("1", False), ("2", True), ("1", True)):
        opened.clear()
        with ahead(boot) as reading:
            with reading.meanwhile([one]):
                assert opened.wait(TIMEOUT if is_read else 0) is is_read
            (same,) = reading.layers([one])
            assert isinstance(same, UnpackedLayer)
            assert read([same]) == read([large(1)])
        assert len(list((tmp_path / "kept").iterdir())) == 1
    other, other_opened = noticed(large(2))
    with ahead(most=3 * LEAST // 2) as reading, reading.meanwhile([other]):
        assert other_opened.wait(TIMEOUT)
    opened.clear()
    with ahead() as reading, reading.meanwhile([one]):
        assert opened.wait(TIMEOUT)


def test_what_is_kept_and_broken_is_read_again(tmp_path: Path) -> None:
    one, opened = noticed(large(1))
    kept = KeptLayers(tmp_path / "kept", boot="1")
    (tmp_path / "run").mkdir()
    for content in (None, b"", b"no layer", bytes(100)):
        if content is not None:
            (path,) = (tmp_path / "kept").iterdir()
            path.write_bytes(content)
        opened.clear()
        with ReadAhead(tmp_path / "run", kept, Limits()) as reading:
            with reading.meanwhile([one]):
                assert opened.wait(TIMEOUT)
            assert read(reading.layers([one])) == read([one])

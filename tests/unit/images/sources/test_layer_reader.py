"""Layers of a store of containers, read by one process; as root, which needs no namespace for it."""

from __future__ import annotations

import base64
import gzip
import json
import os
from pathlib import Path

import pytest

from dibo.errors import ImageError
from dibo.images.image import Reader
from dibo.images.sources.layer_reader import LayerReader, StoredLayer

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root changes its root; tests/integration has users"
)


def layer(directory: Path, content: bytes, *, size: int | None = None) -> StoredLayer:
    """A layer of one file, `a`; its tar is `<` and the content."""
    diff, split = directory / "diff", directory / "split.gz"
    diff.mkdir(parents=True)
    (diff / "a").write_bytes(content)
    entries = [
        {"type": 2, "payload": base64.b64encode(b"<").decode()},
        {"type": 1, "name": "a", "size": len(content)},
    ]
    split.write_bytes(gzip.compress("\n".join(map(json.dumps, entries)).encode()))
    return StoredLayer(
        diff=diff, split=split, diff_id="sha256:1", size=len(content) + 1 if size is None else size
    )


def all_of(reader: Reader) -> bytes:
    parts = []
    while data := reader.read(1 << 16):
        parts.append(data)
    return b"".join(parts)


def test_several_layers_at_once_and_one_left_early(tmp_path: Path) -> None:
    large = os.urandom(3 << 20)
    with LayerReader({}) as reader:
        with (
            reader.open(layer(tmp_path / "1", large)) as first,
            reader.open(layer(tmp_path / "2", b"small")) as second,
        ):
            assert first.read(1) == b"<"
            assert all_of(second) == b"<small"
            assert all_of(first) == large
        with reader.open(layer(tmp_path / "3", large)) as left:
            left.read(1)
        with reader.open(layer(tmp_path / "4", b"more")) as last:
            assert all_of(last) == b"<more"


def test_one_process_for_all_layers_that_ends_with_the_reader(tmp_path: Path) -> None:
    with LayerReader({}) as reader:
        assert not children()
        for number in range(3):
            with reader.open(layer(tmp_path / str(number), b"x")) as tar:
                all_of(tar)
            assert len(children()) == 1
    assert not children()


def children() -> list[str]:
    return [
        pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    ]


@pytest.mark.parametrize("change", ["gone", "shorter", "split"])
def test_a_layer_that_changed(tmp_path: Path, change: str) -> None:
    stored = layer(tmp_path / "1", b"content")
    if change == "gone":
        (stored.diff / "a").unlink()
    elif change == "shorter":
        (stored.diff / "a").write_bytes(b"con")
    else:
        stored.split.write_bytes(b"junk")
    with LayerReader({}) as reader:
        with reader.open(stored) as tar, pytest.raises(ImageError, match="cannot be read from") as caught:
            all_of(tar)
        reason = {"gone": "No such file", "shorter": "another size", "split": "Not a gzipped file"}[change]
        assert reason in caught.value.message
        with reader.open(layer(tmp_path / "2", b"fine")) as tar:
            assert all_of(tar) == b"<fine"


def test_a_process_that_was_killed(tmp_path: Path) -> None:
    with LayerReader({}) as reader:
        with reader.open(layer(tmp_path / "1", b"x")) as tar:
            all_of(tar)
        (pid,) = children()
        os.kill(int(pid), 9)
        for number in (2, 3):
            with (
                reader.open(layer(tmp_path / str(number), b"x")) as tar,
                pytest.raises(ImageError, match="the process that reads it has ended"),
            ):
                all_of(tar)

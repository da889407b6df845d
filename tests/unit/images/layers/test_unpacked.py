"""Layers that were read once give the very disk that reading them again gives."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from dibo.errors import LayerError, VerificationFailed
from dibo.formats import ext4
from dibo.formats.magic import SWAP
from dibo.formats.raw import RawFile
from dibo.images.image import Layer
from dibo.images.layers.change_digest import Ledger
from dibo.images.layers.limits import Limits
from dibo.images.layers.load import LoadOptions, Tree, load
from dibo.images.layers.unpacked import TooMuch, open_unpacked, unpack, with_content
from tests.support.images.tar_layers import (
    MemorySink,
    directory,
    file,
    find,
    hardlink,
    layer,
    listing,
    pax,
    symlink,
)

pytestmark = pytest.mark.slow

MIB = 1 << 20
KIB = 1 << 10
BASE: Sequence[bytes] = (
    directory(b"a"),
    file(b"a/small", b"text"),
    file(b"a/empty"),
    hardlink(b"a/again", b"a/small"),
    symlink(b"a/link", b"small"),
    file(b"a/hidden", b"x" * 5000),
    file(b"a/with-a-hole", b"x" * 70 * KIB + bytes(200 * KIB) + b"y"),
    file(b"a/zeros", bytes(300 * KIB)),
    file(b"a/swap", bytes(4096 - len(SWAP)) + SWAP + bytes(200 * KIB)),
    pax((b"GNU.sparse.map", b"0,4,100000,6"), (b"GNU.sparse.size", b"200000")),
    file(b"a/sparse", b"headtail!!"),
    pax((b"SCHILY.xattr.user.note", b"value")),
    file(b"a/noted", b"z" * 4096),
    file(b"a/large", random.Random(1).randbytes(3 * MIB + 17)),
    file(b"a/kept", b"kept, too"),
)
TOP: Sequence[bytes] = (
    file(b"a/.wh.hidden"),
    file(b"a/small", b"other text"),
    file(b"own", b"of this image alone"),
)


def unpacked(tmp_path: Path, *layers: Layer) -> list[Layer]:
    """The same layers, read."""
    made: list[Layer] = []
    for number, each in enumerate(layers):
        path = tmp_path / f"layer-{number}"
        unpack(each, path, limits=Limits(), room=1 << 40)
        made.append(with_content(each, open_unpacked(path)))
    return made


def disk(path: Path, layers: Sequence[Layer], size: int = 64 * MIB) -> bytes:
    with RawFile(path, size) as target:
        writer = ext4.Writer(target, ext4.Parameters(size=size, uuid=UUID(int=1), hash_seed=UUID(int=2)))
        tree = load(layers, writer)
        writer.finish(tree.root)
    return path.read_bytes()


def kept(layers: Sequence[Layer]) -> tuple[Tree, MemorySink, Ledger]:
    sink, ledger = MemorySink(), Ledger(built=False)
    tree = load(layers, sink, LoadOptions(keep=(b"a/kept", b"a/sparse"), ledger=ledger))
    sink.flush()
    return tree, sink, ledger


def test_the_same_disk(tmp_path: Path) -> None:
    layers = (layer(*BASE, compression="gzip"), layer(*TOP))
    expected = disk(tmp_path / "expected", layers)
    assert disk(tmp_path / "all", unpacked(tmp_path, *layers)) == expected
    assert disk(tmp_path / "base", [*unpacked(tmp_path, layers[0]), layers[1]]) == expected


def test_files_around_copies_of_the_superblock(tmp_path: Path) -> None:
    """They are where a large file lies, and where files do not fit any more."""
    data = random.Random(2).randbytes(MIB)
    layers = (layer(*(file(b"%d" % number, data * 30 + b"end") for number in range(5))),)
    expected = disk(tmp_path / "expected", layers, 200 * MIB)
    assert disk(tmp_path / "unpacked", unpacked(tmp_path, *layers), 200 * MIB) == expected


def test_the_same_tree_kept_files_and_digests(tmp_path: Path) -> None:
    layers = (layer(*BASE, compression="zstd"), layer(*TOP))
    expected, sink, ledger = kept(layers)
    tree, other_sink, other_ledger = kept(unpacked(tmp_path, *layers))
    assert listing(tree, other_sink) == listing(expected, sink)
    assert other_ledger.digests == ledger.digests
    assert replace(tree, root=expected.root) == expected
    for path in ("a/kept", "a/sparse"):
        assert find(tree, path).data == find(expected, path).data


def test_files_are_handed_on_as_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows each other in the layer is one range; what has zeros that become a hole is none."""
    sizes: list[int] = []
    written = RawFile.write_range

    def write_range(self: RawFile, offset: int, source: object) -> None:
        sizes.append(source.size)  # type: ignore[attr-defined]
        written(self, offset, source)  # type: ignore[arg-type]

    monkeypatch.setattr(RawFile, "write_range", write_range)
    many = [file(b"%d" % number, b"x" * 5000) for number in range(10)]
    layers = unpacked(tmp_path, layer(*many, file(b"zeros", bytes(MIB)), file(b"last", b"last")))
    disk(tmp_path / "disk", layers)
    assert sizes == [10 * 8192, 4096]


@pytest.mark.parametrize("broken", ["_share", "_copy_in_kernel"])
def test_the_same_disk_where_blocks_cannot_be_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, os.strerror(95))

    layers = (layer(*BASE),)
    expected = disk(tmp_path / "expected", layers)
    monkeypatch.setattr("dibo.formats.file_range.RangeCopier._share", refuse)
    monkeypatch.setattr(f"dibo.formats.file_range.RangeCopier.{broken}", refuse)
    assert disk(tmp_path / "disk", unpacked(tmp_path, *layers)) == expected


def test_damage_is_found_when_it_is_read(tmp_path: Path) -> None:
    damaged = replace(layer(*BASE), diff_id=f"sha256:{'0' * 64}", digest=None)
    with pytest.raises(VerificationFailed):
        unpack(damaged, tmp_path / "layer", limits=Limits(), room=1 << 40)


def test_limits(tmp_path: Path) -> None:
    one = layer(*BASE)
    with pytest.raises(TooMuch):
        unpack(one, tmp_path / "layer", limits=Limits(), room=MIB)
    with pytest.raises(LayerError, match="more than 3 entries"):
        unpack(one, tmp_path / "layer", limits=Limits(entries=3), room=1 << 40)
    with pytest.raises(LayerError, match="unpacks to more than"):
        load(unpacked(tmp_path, one), MemorySink(), LoadOptions(limits=Limits(image_bytes=MIB)))

"""Directories as skopeo copies images to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dibo.errors import ImageError, VerificationFailed
from dibo.images.image import Image
from tests.unit.images.sources.sample_images import Maker, layer_tar, on, write_files

Read = Callable[..., tuple[Image, list[bytes]]]


def copied(maker: Maker, top: str, directory: Path) -> Path:
    files = {"version": b"Directory Transport Version: 1.1\n", "manifest.json": maker.blobs[top]}
    for digest, body in maker.blobs.items():
        manifest = body.startswith(b"{") and "layers" in json.loads(body)
        files[digest[7:] + (".manifest.json" if manifest else "")] = body
    write_files(directory, files)
    return directory


def test_one_image(tmp_path: Path, read: Read) -> None:
    maker = Maker()
    entry = maker.image()
    image, layers = read(f"dir:{copied(maker, entry['digest'], tmp_path / 'a:b')}")
    assert layers == [layer_tar("low"), layer_tar("high")]
    assert image.digest == maker.id_of(entry)


def test_an_index(tmp_path: Path, read: Read) -> None:
    maker = Maker()
    arm = {**maker.image(architecture="arm64"), **on("arm64")}
    top = maker.index_of({**maker.image(), **on("amd64")}, arm)
    place = copied(maker, top["digest"], tmp_path)
    assert read(f"dir:{place}", architecture="arm64")[0].digest == maker.id_of(arm)
    (tmp_path / f"{arm['digest'][7:]}.manifest.json").write_text("{}")
    with pytest.raises(VerificationFailed):
        read(f"dir:{place}", architecture="arm64")


def test_bad_ones(tmp_path: Path, read: Read) -> None:
    with pytest.raises(ImageError, match=r"manifest.json is not there"):
        read(f"dir:{tmp_path}")
    for text, message in (("[]", "not a JSON object"), ('{"mediaType": 3}', "neither an image")):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(ImageError, match=message):
            read(f"dir:{tmp_path}")
    maker = Maker()
    place = copied(maker, maker.image()["digest"], tmp_path / "x")
    layer = next(digest for digest, body in maker.blobs.items() if not body.startswith(b"{"))
    (place / layer[7:]).unlink()
    with pytest.raises(ImageError, match=r"the layer .* is not there"):
        read(f"dir:{place}")

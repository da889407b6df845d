"""Layouts that are not well formed: each says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dibo.errors import ImageError
from dibo.images.image import Image
from tests.unit.images.sources.sample_images import (
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    Maker,
    digest_of,
    layer_tar,
)

Read = Callable[..., tuple[Image, list[bytes]]]
TARS = [layer_tar("low"), layer_tar("high")]


@pytest.fixture
def maker() -> Maker:
    return Maker()


def deep(levels: int) -> Callable[[Maker], Any]:
    def make(maker: Maker) -> Any:
        entry = maker.image()
        for _ in range(levels):
            entry = maker.index_of(entry)
        return entry

    return make


def with_layer(**change: Any) -> Callable[[Maker], Any]:
    """An image whose one layer is described wrongly; None leaves a key out."""

    def make(maker: Maker) -> Any:
        layer = {**maker.blob(layer_tar("low"), LAYER), **change}
        layers = [{key: value for key, value in layer.items() if value is not None}]
        return maker.image(names=["low"], manifest={"layers": layers})

    return make


def with_manifest(**change: Any) -> Callable[[Maker], Any]:
    return lambda maker: maker.image(manifest=change)


def with_config(**change: Any) -> Callable[[Maker], Any]:
    return lambda maker: maker.image(config=change)


def with_entry(**change: Any) -> Callable[[Maker], Any]:
    return lambda maker: {**maker.image(), **change}


def with_config_descriptor(**change: Any) -> Callable[[Maker], Any]:
    def make(maker: Maker) -> Any:
        config = maker.blob({"rootfs": {"diff_ids": [digest_of(tar) for tar in TARS]}}, CONFIG)
        return maker.image(manifest={"config": {**config, **change}})

    return make


SHA = f"sha256:{'ab' * 32}"
BAD = {
    "entry is no object": (lambda _: 3, "3 where a descriptor should be"),
    "entry is null": (lambda _: None, "nothing where a descriptor should be"),
    "digest leaves": (with_entry(digest="sha256:../../../../etc/passwd"), "where a sha256 digest should be"),
    "digest is short": (with_entry(digest="sha256:abcd"), "where a sha256 digest should be"),
    "digest in capitals": (with_entry(digest=SHA.upper()), "where a sha256 digest should be"),
    "digest is md5": (with_entry(digest=f"md5:{'a' * 32}"), "where a sha256 digest should be"),
    "digest is a list": (with_entry(digest=["x" * 1000]), "where a sha256 digest should be"),
    "digest of nothing": (with_entry(digest=SHA), "cannot read .*abab: No such file"),
    "size is negative": (with_entry(size=-1), "-1 where a size should be"),
    "size is true": (with_entry(size=True), "True where a size should be"),
    "size is a fraction": (with_entry(size=1.5), "1.5 where a size should be"),
    "size is a word": (with_entry(size="12"), "'12' where a size should be"),
    "size is huge": (with_entry(size=1 << 64), "where a size should be"),
    "size lies": (with_entry(size=5), "bytes, but was announced with 5"),
    "size of no description": (with_entry(size=5 << 20), "claims 5242880 bytes"),
    "type is a number": (with_entry(mediaType=7), "7 where a media type should be"),
    "type is another": (with_entry(mediaType=INDEX), "says it is .*manifest.*announced as .*index"),
    "platform is odd": (with_entry(platform={"architecture": ["amd64"]}), "where a platform should be"),
    "manifest is a list": (lambda m: m.blob(b"[]", MANIFEST), "is not a JSON object"),
    "manifest is no JSON": (lambda m: m.blob(b"{", MANIFEST), "is not JSON"),
    "manifest is no text": (lambda m: m.blob(b"\xff\xfe\xfd", MANIFEST), "is not JSON"),
    "manifest is deep": (
        lambda m: m.blob(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, MANIFEST),
        "nested too deep",
    ),
    "manifest is large": (lambda m: m.blob(b'{"a": "' + b"x" * (4 << 20) + b'"}', MANIFEST), "claims 4194"),
    "manifest of two kinds": (with_manifest(manifests=[]), "could be read as an image and as an index"),
    "manifest of no kind": (lambda m: m.blob({"x": 1}, "application/json"), "neither an image nor an index"),
    "manifest of a strange kind": (with_manifest(mediaType="text/x"), "neither .*: it is 'text/x'"),
    "manifest with a wordless kind": (with_manifest(mediaType=3), "says it is 3"),
    "schema 1": (lambda m: m.blob({"schemaVersion": 1, "fsLayers": []}, ""), "Docker's schema 1"),
    "schema 1, signed": (
        lambda m: m.blob({"x": 1}, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        "Docker's schema 1",
    ),
    "index of nothing": (lambda m: m.index_of(), "it has none at all"),
    "index is no list": (
        lambda m: m.blob({"mediaType": INDEX, "manifests": {}}, INDEX),
        "has no list of manifests",
    ),
    "indexes too deep": (deep(6), "an index in an index"),
    "index too wide": (
        lambda m: m.index_of(*(m.index_of(m.image(names=[str(n)], architecture="386")) for n in range(40))),
        "too many images to look at",
    ),
    "layers are none": (with_manifest(layers=[]), "has no layers"),
    "layers are no list": (with_manifest(layers={}), "has no list of layers"),
    "layers are many": (
        lambda m: m.image(manifest={"layers": [m.blob(b"", LAYER)] * 1001}),
        "has 1001 layers",
    ),
    "layers and config differ": (
        with_config(rootfs={"diff_ids": [SHA]}),
        "describes 1 layers, but there are 2",
    ),
    "layer is a number": (with_manifest(layers=[1, 2]), "layer 1 of .* has 1 where"),
    "layer is foreign": (
        with_layer(mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        "layer 1 .* is foreign",
    ),
    "layer is not distributable": (
        with_layer(mediaType="application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
        "is foreign",
    ),
    "layer is elsewhere": (with_layer(urls=["https://example.invalid/layer"]), "is foreign"),
    "layer is encrypted": (with_layer(mediaType=f"{LAYER}+gzip+encrypted"), "is encrypted"),
    "layer is no tar": (with_layer(mediaType="application/vnd.in-toto+json"), "in-toto.*not a tar"),
    "layer is negative": (with_layer(size=-5), "-5 where a size should be"),
    "layer without size": (with_layer(size=None), "nothing where a size should be"),
    "layer is missing": (with_layer(digest=SHA), "the layer .*abab is not there"),
    "layer has another size": (with_layer(size=7), "has 10240 bytes, but was announced with 7"),
    "config is a chart's": (
        with_config_descriptor(mediaType="application/vnd.cncf.helm.config.v1+json"),
        "no image of a root file system: its config is .*helm",
    ),
    "config is empty": (with_config_descriptor(mediaType="application/vnd.oci.empty.v1+json"), "no image of"),
    "config is missing": (with_manifest(config=None), "the config of .* has nothing where a descriptor"),
    "config is huge": (with_config_descriptor(size=5 << 20), "larger than 4"),
    "config without layers": (with_config(rootfs=None), "says nothing of a root file system"),
    "config with other layers": (with_config(rootfs={"diff_ids": "x"}), "has no list of diff_ids"),
    "config with a strange layer": (
        with_config(rootfs={"diff_ids": [1, 2]}),
        "1 where the digest of a layer",
    ),
    "config for windows": (with_config(os="windows"), "is for windows, not for Linux"),
    "config with odd words": (with_config(os={"x": 1}), "where a platform should be"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_layouts(maker: Maker, tmp_path: Path, read: Read, case: str) -> None:
    make, message = BAD[case]
    maker.top(make(maker))  # type: ignore[no-untyped-call]
    place = maker.write(tmp_path / "x")
    with pytest.raises(ImageError, match=message) as caught:
        read(f"oci:{place}")
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not a JSON object"),
        ("{", "not JSON"),
        ("", "not JSON"),
        ("{}", "neither an image nor an index"),
        ('{"layers": [], "config": {}}', "the manifest of an image, not an index"),
        ('{"manifests": 3}', "no list of manifests"),
        ('{"manifests": []}', "has no image"),
        ('{"manifests": [{"digest": "sha256:../../../../etc/passwd"}]}', "where a sha256 digest"),
        (f'{{"a": {"1" * 10000}}}', "not JSON"),
        (" " * (4 << 20) + "{}", "larger than 4 MiB"),
    ],
)
def test_bad_index(tmp_path: Path, read: Read, text: str, message: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(ImageError, match=message):
        read(f"oci:{tmp_path}")

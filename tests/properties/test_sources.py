"""Whatever is damaged in what describes an image, dibo says so in its own words, and in good time."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dibo.errors import DiboError
from dibo.images.sources.choose import choose_image
from tests.unit.images.sources.sample_images import (
    Maker,
    digest_of,
    layer_tar,
    on,
    tagged,
    tar_of,
    write_files,
)

pytestmark = pytest.mark.slow

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
CHEAP = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def image_in_a_layout() -> tuple[Maker, dict[str, Any], dict[str, Any], dict[str, Any]]:
    maker = Maker()
    entry = {**maker.image(), **on("amd64")}
    manifest = json.loads(maker.blobs[entry["digest"]])
    config = json.loads(maker.blobs[manifest["config"]["digest"]])
    return maker, entry, manifest, config


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, each in inner for path in paths(each, (*at, key)))]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


def read_all(reference: str, scratch: Path) -> None:
    with choose_image(reference, architecture="amd64", scratch=scratch) as image:
        for layer in image.layers:
            with layer.open() as reader:
                while reader.read(1 << 16):
                    pass


def goes_or_explains(files: Mapping[str, bytes], kind: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if kind in ("oci", "dir"):
            write_files(place / "x", files)
        else:
            (place / "x").write_bytes(tar_of(files))
        try:
            read_all(f"{kind}:{place}/x", place)
        except DiboError as error:
            assert error.message


@CHEAP
@given(st.data())
def test_any_part_of_a_layout_may_be_anything(data: st.DataObject) -> None:
    maker, entry, manifest, config = image_in_a_layout()
    documents = {"index": {"manifests": [tagged(entry, "1")]}, "manifest": manifest, "config": config}
    which = data.draw(st.sampled_from(sorted(documents)))
    where = data.draw(st.sampled_from(paths(documents[which])))
    new = changed(documents[which], where, data.draw(JSON))
    if which == "config":
        new = {**manifest, "config": maker.blob(new, manifest["config"]["mediaType"])}
    if which in ("config", "manifest"):
        new = {"manifests": [tagged(maker.blob(new, entry["mediaType"], **on("amd64")), "1")]}
    maker.index = new
    goes_or_explains(maker.files, data.draw(st.sampled_from(["oci", "oci-archive"])))


@CHEAP
@given(st.data())
def test_any_part_of_dockers_list_may_be_anything(data: st.DataObject) -> None:
    tars = [layer_tar("a"), layer_tar("b")]
    config = {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"diff_ids": [digest_of(tar) for tar in tars]},
    }
    items = [{"Config": "c", "RepoTags": ["x:1"], "Layers": ["a", "b"]}]
    files = {"a": tars[0], "b": tars[1]}
    which = data.draw(st.sampled_from(["config", "items"]))
    where = data.draw(st.sampled_from(paths(config if which == "config" else items)))
    new = changed(config if which == "config" else items, where, data.draw(JSON))
    files["c"] = json.dumps(new if which == "config" else config).encode()
    files["manifest.json"] = json.dumps(items if which == "config" else new).encode()
    goes_or_explains(files, "docker-archive")


@CHEAP
@given(st.data())
def test_bytes_of_an_archive_may_be_any(data: st.DataObject) -> None:
    maker, entry, _, _ = image_in_a_layout()
    maker.top(entry)
    tar = bytearray(tar_of(maker.files))
    for _ in range(data.draw(st.integers(1, 4))):
        header = data.draw(st.integers(0, len(tar) // 512 - 1)) * 512
        at = header + data.draw(st.integers(0, 511))
        tar[at] = data.draw(st.integers(0, 255))
        # A header that is to be believed has the right checksum (pax(1), ustar: bytes 148 to 155).
        if data.draw(st.booleans()):
            block = bytes(tar[header : header + 148]) + b" " * 8 + bytes(tar[header + 156 : header + 512])
            tar[header + 148 : header + 156] = b"%06o\0 " % sum(block)
    end = data.draw(st.integers(0, len(tar))) if data.draw(st.booleans()) else len(tar)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "x").write_bytes(tar[:end])
        try:
            read_all(f"oci-archive:{name}/x", Path(name))
        except DiboError as error:
            assert error.message


@CHEAP
@given(st.text(max_size=40))
def test_any_words_may_be_a_reference(text: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        for prefix in ("oci:", "oci-archive:", "docker-archive:", "dir:", ""):
            if not prefix and ("." in text or ":" in text or text.startswith("localhost/")):
                continue  # may name a registry
            try:
                read_all(prefix + text, Path(name))
            except DiboError as error:
                assert error.message

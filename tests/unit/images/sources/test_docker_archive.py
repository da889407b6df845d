"""Archives as `docker save` and `podman save` write them, of any age, and broken ones."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dibo.errors import ImageError, VerificationFailed
from dibo.images.image import Image
from tests.unit.images.sources.sample_images import Maker, digest_of, layer_tar, tagged, tar_of

Read = Callable[..., tuple[Image, list[bytes]]]
TARS = [layer_tar("low"), layer_tar("high")]


def config_of(*tars: bytes, **more: Any) -> bytes:
    diff_ids = [digest_of(tar) for tar in tars]
    return json.dumps(
        {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": diff_ids}, **more}
    ).encode()


def item(*layers: str, config: bytes = b"", tags: Any = ("web:1",)) -> dict[str, Any]:
    return {"Config": f"{digest_of(config)[7:]}.json", "RepoTags": list(tags or ()), "Layers": list(layers)}


CONFIG = config_of(*TARS)
FILES = {
    "a/layer.tar": TARS[0],
    "b/layer.tar": TARS[1],
    "a/VERSION": b"1.0",
    f"{digest_of(CONFIG)[7:]}.json": CONFIG,
    "manifest.json": json.dumps([item("a/layer.tar", "b/layer.tar", config=CONFIG)]).encode(),
}


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., str]:
    def write(files: Mapping[str, bytes] = FILES, **more: Any) -> str:
        path = tmp_path / "x.tar"
        path.write_bytes(tar_of(files, **more))
        return f"docker-archive:{path}"

    return write


def test_layers_of_directories(archive: Callable[..., str], read: Read) -> None:
    image, layers = read(archive())
    assert layers == TARS
    assert [layer.diff_id for layer in image.layers] == [digest_of(tar) for tar in TARS]
    assert [layer.digest for layer in image.layers] == [None, None]
    assert [layer.size for layer in image.layers] == [len(tar) for tar in TARS]
    assert (image.digest, image.architecture) == (digest_of(CONFIG), "amd64")


def test_compressed_as_a_whole(archive: Callable[..., str], read: Read, tmp_path: Path) -> None:
    archive()
    (tmp_path / "y").write_bytes(gzip.compress((tmp_path / "x.tar").read_bytes()))
    assert read(f"docker-archive:{tmp_path}/y")[1] == TARS


@pytest.mark.parametrize(("hard", "target"), [(False, "../a/layer.tar"), (True, "a/layer.tar")])
def test_equal_layers_may_be_links(archive: Callable[..., str], read: Read, hard: bool, target: str) -> None:
    config = config_of(TARS[0], TARS[0], TARS[0])
    files = {
        "a/layer.tar": TARS[0],
        "config": config,
        "manifest.json": json.dumps(
            [{"Config": "config", "Layers": ["a/layer.tar", "b/layer.tar", "./a/layer.tar"]}]
        ).encode(),
    }
    assert read(archive(files, links={"b/layer.tar": target}, hard=hard))[1] == [TARS[0]] * 3


def test_links_that_lead_nowhere(archive: Callable[..., str], read: Read) -> None:
    files = {**FILES}
    del files["a/layer.tar"]
    with pytest.raises(ImageError, match="lead nowhere"):
        read(archive(files, links={"a/layer.tar": "../b/../a/layer.tar"}))
    with pytest.raises(ImageError, match=r"the layer a/layer.tar in .* is not there"):
        read(archive(files, links={"a/layer.tar": "/etc/passwd"}))


def test_one_of_several(archive: Callable[..., str], read: Read) -> None:
    other = config_of(TARS[1])
    items = [
        item("a/layer.tar", "b/layer.tar", config=CONFIG, tags=["web:1", "web:latest"]),
        item("b/layer.tar", config=other, tags=["docker.io/library/db:2", "localhost/db:3"]),
        item("b/layer.tar", config=other, tags=None),
    ]
    files = {**FILES, f"{digest_of(other)[7:]}.json": other, "manifest.json": json.dumps(items).encode()}
    place = archive(files)
    for which in ("web:1", "web", "docker.io/library/web", "@0"):
        assert read(f"{place}:{which}")[1] == TARS
    for which in ("db:2", "docker.io/db:2", "localhost/db:3", "@1", "@2"):
        assert read(f"{place}:{which}")[1] == TARS[1:]
    with pytest.raises(ImageError, match=r"x.tar has several images") as caught:
        read(place)
    assert "@0  web:1, web:latest" in caught.value.hint
    assert "@2  (no name)" in caught.value.hint
    for which, message in (("db", "has no image db"), ("@3", "no image @3"), ("@x", "no image @x")):
        with pytest.raises(ImageError, match=message):
            read(f"{place}:{which}")


def test_a_new_docker_writes_both(tmp_path: Path, read: Read) -> None:
    """docker 25 and newer: an OCI layout whose blobs manifest.json names as well."""
    maker = Maker()
    entry = tagged(maker.image(), "1", **{"io.containerd.image.name": "docker.io/library/web:1"})
    maker.top(entry)
    document = json.loads(maker.blobs[entry["digest"]])
    names = [f"blobs/sha256/{each['digest'][7:]}" for each in (document["config"], *document["layers"])]
    items = [{"Config": names[0], "RepoTags": ["web:1"], "Layers": names[1:]}]
    path = tmp_path / "both.tar"
    path.write_bytes(tar_of({**maker.files, "manifest.json": json.dumps(items).encode()}))
    for reference in (f"docker-archive:{path}", f"docker-archive:{path}:web:1", f"oci-archive:{path}:1"):
        assert read(reference)[1] == TARS


def test_a_config_that_is_not_what_its_name_says(archive: Callable[..., str], read: Read) -> None:
    name = f"{digest_of(CONFIG)[7:]}.json"
    with pytest.raises(VerificationFailed, match=r"the config of .* expected"):
        read(archive({**FILES, name: CONFIG + b" "}))


def test_another_architecture(archive: Callable[..., str], read: Read) -> None:
    with pytest.raises(ImageError, match="has no image for arm64; it has linux/amd64"):
        read(archive(), architecture="arm64")


ITEM = item("a/layer.tar", "b/layer.tar", config=CONFIG)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"{", "has no JSON"),
        (b"[" * 100_000, "has no JSON"),
        (b"{}", "has no list of images"),
        (b"[1]", "has no list of images"),
        (b"[]", "has no image"),
        (b" " * (4 << 20) + b"[]", "larger than 4 MiB"),
        (json.dumps([{}]).encode(), "without Config or Layers"),
        (json.dumps([{**ITEM, "Layers": None}]).encode(), "without Config or Layers"),
        (json.dumps([{**ITEM, "Layers": [1]}]).encode(), "without Config or Layers"),
        (json.dumps([{**ITEM, "Layers": []}]).encode(), "has no layers"),
        (json.dumps([{**ITEM, "Layers": ["a/layer.tar"] * 1001}]).encode(), "has 1001 layers"),
        (json.dumps([{**ITEM, "Layers": ["a/layer.tar"]}]).encode(), "describes 2 layers, but there are 1"),
        (json.dumps([{**ITEM, "Layers": ["a/layer.tar", "c"]}]).encode(), "the layer c in .* is not there"),
        (json.dumps([{**ITEM, "Layers": ["a/layer.tar", "/"]}]).encode(), "the layer / in .* is not there"),
        (json.dumps([{**ITEM, "Config": "nothing"}]).encode(), "has no nothing"),
        (json.dumps([{**ITEM, "Config": "a/VERSION"}]).encode(), "the config of .* is not"),
        (json.dumps([{**ITEM, "RepoTags": 3}, ITEM]).encode(), "several images"),
    ],
)
def test_bad_archives(archive: Callable[..., str], read: Read, manifest: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read(archive({**FILES, "manifest.json": manifest}))


def test_another_archive(archive: Callable[..., str], read: Read) -> None:
    maker = Maker()
    maker.top(maker.image())
    with pytest.raises(ImageError, match=r"manifest.json in .* is not there") as caught:
        read(archive(maker.files))
    assert "oci-archive:" in caught.value.hint

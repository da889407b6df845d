"""Images in a registry: found as anywhere else, and what goes wrong is said."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dibo.errors import ImageError, RegistryError, SignatureError, Unreachable, UsageError, VerificationFailed
from dibo.images.image import Image
from dibo.images.sources.choose import choose_image
from tests.support.servers.fake_registry import FakeRegistry
from tests.unit.images.sources.sample_images import DOCKER_LIST, Maker, layer_tar, on

pytestmark = pytest.mark.usefixtures("pauses")

Read = Callable[..., tuple[Image, list[bytes]]]
TARS = [layer_tar("low"), layer_tar("high")]


def put(server: FakeRegistry, maker: Maker, top: str, repository: str = "team/app", tag: str = "1") -> str:
    """Put all that was made, `top` under the tag; how it is named."""
    for digest, body in maker.blobs.items():
        document = json.loads(body) if body.startswith(b"{") else {}
        if "layers" in document or "manifests" in document:
            assert server.state.put_manifest(repository, tag if digest == top else "", document) == digest
        else:
            server.state.put(repository, body)
    return f"{server.host}/{repository}:{tag}"


def test_an_image(server: FakeRegistry, read: Read) -> None:
    maker = Maker()
    entry = maker.image(compress=True)
    name = put(server, maker, entry["digest"])
    for reference in (name, f"docker://{name}", f"{name}@{entry['digest']}"):
        image, layers = read(reference)
        assert [gzip.decompress(layer) for layer in layers] == TARS
        assert (image.digest, image.name) == (maker.id_of(entry), reference)
        assert image.manifest_digest == entry["digest"]


def test_an_index_in_an_index(server: FakeRegistry, read: Read) -> None:
    maker = Maker()
    wanted = {**maker.image(architecture="arm64", docker=True, compress=True), **on("arm64", "v8")}
    other = {**maker.image(names=["x"]), **on("amd64")}
    inner = maker.index_of(other, wanted, kind=DOCKER_LIST)
    name = put(server, maker, maker.index_of(inner)["digest"])
    assert read(name, architecture="arm64")[0].digest == maker.id_of(wanted)
    with pytest.raises(ImageError, match="has no image for riscv64; it has linux/amd64, linux/arm64/v8"):
        read(name, architecture="riscv64")


def test_layers_are_asked_for_when_they_are_opened(server: FakeRegistry, read: Read, tmp_path: Path) -> None:
    maker = Maker()
    name = put(server, maker, maker.image()["digest"])
    with choose_image(name, architecture="amd64", scratch=tmp_path) as image:
        before = len(server.state.asked)
        assert before == 2, "a manifest and a config"
        server.state.blobs.pop(("team/app", str(image.layers[0].digest)))
        with pytest.raises(RegistryError, match="404"), image.layers[0].open() as reader:
            reader.read(1)


def test_what_is_not_there(server: FakeRegistry, read: Read) -> None:
    with pytest.raises(RegistryError, match="404"):
        read(f"{server.host}/team/app:2")
    with pytest.raises(Unreachable) as caught:
        read("localhost:1/team/app:2")
    assert "containers-storage" not in caught.value.hint
    for word in (f"{server.host}/Team:1", f"{server.host}/x:1@sha256:abc", "docker://", "docker://~"):
        with pytest.raises(UsageError):
            read(word)


def test_localhost_is_also_where_buildah_says_its_images_are(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> bytes:
        raise Unreachable("registry localhost cannot be reached", hint="check the network")

    monkeypatch.setattr("dibo.images.registry.api.read_manifest", refuse)
    with pytest.raises(Unreachable) as caught:
        read("localhost/web:1")
    assert "containers-storage:localhost/web:1" in caught.value.hint
    assert "check the network" in caught.value.hint


def test_wrong_bytes(server: FakeRegistry, read: Read) -> None:
    maker = Maker()
    entry = maker.image()
    name = put(server, maker, maker.index_of({**entry, **on("amd64")})["digest"])
    config = json.loads(maker.blobs[entry["digest"]])["config"]["digest"]
    for path in (f"/manifests/{entry['digest']}", f"/blobs/{config}"):
        server.state.inject(path, "wrong")
        with pytest.raises(VerificationFailed):
            read(name)
    server.state.inject("/manifests/", "wrong")
    with pytest.raises(VerificationFailed):
        read(f"{name}@{entry['digest']}")


def test_a_chart_and_a_schema_of_old(server: FakeRegistry, read: Read) -> None:
    maker = Maker()
    config = maker.blob(b"x", "application/vnd.cncf.helm.config.v1+json")
    name = put(server, maker, maker.image(manifest={"config": config})["digest"])
    with pytest.raises(ImageError, match=r"its config is .*helm"):
        read(name)
    server.state.put_manifest("old", "1", {"schemaVersion": 1, "fsLayers": [], "signatures": []})
    with pytest.raises(ImageError, match="schema 1"):
        read(f"{server.host}/old:1")


@pytest.mark.parametrize("word", ["debian", "debian:12", "library/debian"])
def test_a_word_is_no_image_of_docker_hub(read: Read, word: str) -> None:
    with pytest.raises(UsageError, match="names no image") as caught:
        read(word)
    assert f"docker://{word}" in caught.value.hint


def opened(name: str, scratch: Path, *signed: str) -> Image:
    """The image, where only manifests with these digests are signed."""

    def verify(digest: str) -> None:
        if digest not in signed:
            raise SignatureError(f"{digest} is not signed")

    with choose_image(name, architecture="amd64", scratch=scratch, verify=verify) as image:
        return image


def test_a_signature_of_the_image_or_of_its_index_is_enough(server: FakeRegistry, tmp_path: Path) -> None:
    maker = Maker()
    wanted = {**maker.image(), **on("amd64")}
    other = {**maker.image(architecture="arm64", names=["x"]), **on("arm64")}
    index = maker.index_of(other, wanted)["digest"]
    name = put(server, maker, index)
    for signed in (index, str(wanted["digest"])):
        assert opened(name, tmp_path, signed).manifest_digest == wanted["digest"]
    with pytest.raises(SignatureError, match=f"{wanted['digest']} is not signed"):
        opened(name, tmp_path, str(other["digest"]))
    name = put(server, maker, str(wanted["digest"]), tag="2")
    assert opened(name, tmp_path, str(wanted["digest"])).manifest_digest == wanted["digest"]


@pytest.mark.parametrize("damaged", ["config", "manifest", "index"])
def test_nothing_of_an_unsigned_image_is_read_before_its_signature(
    server: FakeRegistry, tmp_path: Path, damaged: str
) -> None:
    repository = "team/app"
    config = b"{" if damaged == "config" else b'{"rootfs": 7}'
    digest = server.state.put(repository, config)
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": len(config)}
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest,
            "size": len(config),
        },
        "layers": 7 if damaged == "manifest" else [layer],
    }
    top = server.state.put_manifest(repository, "1", manifest)
    if damaged == "index":
        top = server.state.put_manifest(repository, "1", {"schemaVersion": 2, "manifests": [7]})
    with pytest.raises(SignatureError, match=f"{top} is not signed"):
        opened(f"{server.host}/{repository}:1", tmp_path)
    assert not any(digest in str(each) for each in server.state.asked)
    with pytest.raises(ImageError):
        opened(f"{server.host}/{repository}:1", tmp_path, top)
    assert any(digest in str(each) for each in server.state.asked) == (damaged == "config")

"""Images of several architectures under one name, in a registry in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dibo.cache.push_index import PushedImage, push_index
from dibo.cli.main import dibo
from dibo.errors import SignatureError
from dibo.images.manifest import OCI_INDEX
from dibo.images.platforms import Platform
from dibo.images.reference import ImageName, parse_image_name
from dibo.images.sources.registry import resolve
from dibo.trust.keys import generate
from dibo.trust.policy import Policy, Rule, Trust
from tests.support.servers.fake_registry import FakeRegistry
from tests.unit.images.sources.sample_images import Maker

UNSIGNED = Trust()


@pytest.fixture
def name(server: FakeRegistry) -> ImageName:
    return parse_image_name(f"{server.host}/team/app:1")


def image(server: FakeRegistry, architecture: str, variant: str = "", *, tag: str = "") -> PushedImage:
    """An image in the registry."""
    maker = Maker()
    entry = maker.image(architecture=architecture, names=[f"{architecture}{variant}"])
    for digest, body in maker.blobs.items():
        if digest == entry["digest"]:
            assert server.state.put_manifest_bytes("team/app", tag, body) == digest
        else:
            server.state.put("team/app", body)
    return PushedImage(
        digest=entry["digest"],
        size=entry["size"],
        platform=Platform(os="linux", architecture=architecture, variant=variant),
    )


def platforms(server: FakeRegistry) -> list[str]:
    kind, body = server.state.manifests["team/app", "1"]
    document: dict[str, Any] = json.loads(body)
    assert kind == document["mediaType"] == OCI_INDEX
    return ["/".join(entry["platform"].values()) for entry in document["manifests"]]


def test_each_architecture_finds_its_image(server: FakeRegistry, name: ImageName) -> None:
    images = [image(server, "amd64"), image(server, "arm64", "v8"), image(server, "arm", "v7")]
    digest = push_index(name, images, join=False, trust=UNSIGNED)
    assert ("team/app", digest) in server.state.manifests
    assert platforms(server) == ["amd64/linux", "arm64/linux/v8", "arm/linux/v7"]
    for word, pushed in zip(("amd64", "arm64", "armhf"), images, strict=True):
        assert resolve(name, architecture=word) == pushed.digest


def test_an_image_joins_an_index_and_replaces_its_own_platform(server: FakeRegistry, name: ImageName) -> None:
    first = [image(server, "amd64"), image(server, "arm64")]
    push_index(name, first, join=False, trust=UNSIGNED)
    second = image(server, "arm64", "v8")
    push_index(name, [second], join=True, trust=UNSIGNED)
    assert platforms(server) == ["amd64/linux", "arm64/linux/v8"]
    assert resolve(name, architecture="arm64") == second.digest
    assert resolve(name, architecture="amd64") == first[0].digest


def test_an_image_that_has_the_name_alone_becomes_an_entry(server: FakeRegistry, name: ImageName) -> None:
    alone = image(server, "amd64", tag="1")
    push_index(name, [image(server, "riscv64")], join=True, trust=UNSIGNED)
    assert resolve(name, architecture="amd64") == alone.digest
    assert platforms(server) == ["amd64/linux", "riscv64/linux"]


def test_the_first_that_joins_makes_the_index(server: FakeRegistry, name: ImageName) -> None:
    push_index(name, [image(server, "riscv64")], join=True, trust=UNSIGNED)
    assert platforms(server) == ["riscv64/linux"]


def test_without_joining_others_go(server: FakeRegistry, name: ImageName) -> None:
    push_index(name, [image(server, "amd64")], join=False, trust=UNSIGNED)
    push_index(name, [image(server, "arm64")], join=False, trust=UNSIGNED)
    assert platforms(server) == ["arm64/linux"]


def test_what_nobody_signed_is_not_signed_with_what_joins_it(server: FakeRegistry, name: ImageName) -> None:
    push_index(name, [image(server, "amd64")], join=False, trust=UNSIGNED)
    key = generate()
    trust = Trust(policy=Policy(default=Rule(keys=(key.public(),))), sign_key=key)
    with pytest.raises(SignatureError):
        push_index(name, [image(server, "arm64")], join=True, trust=trust)
    assert platforms(server) == ["amd64/linux"]
    push_index(name, [image(server, "arm64")], join=False, trust=trust)
    push_index(name, [image(server, "amd64")], join=True, trust=trust)
    assert platforms(server) == ["arm64/linux", "amd64/linux"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-a", "amd64,arm64"], "an image of one architecture under a name"),
        (["-a", "amd64,arm64", "--push", "x.example/a:1", "--tag", "a"], "an image of one architecture"),
        (["-a", "amd64,x86_64", "--push", "x.example/a:1"], "names an architecture twice"),
        (["-a", "amd64,vax", "--push", "x.example/a:1"], "'vax' is no architecture dibo knows"),
        (["--join"], "--join works only with --push"),
    ],
)
def test_what_makes_no_index_is_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dibo(["build", "--cache-dir", str(tmp_path), *words, "base"]) != 0
    assert message in capsys.readouterr().err

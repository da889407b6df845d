"""A kit in a registry: under one tag for several architectures, signed, and found there again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dibo.errors import OutputError, SignatureError
from dibo.images.reference import ImageName
from dibo.images.sources.choose import choose_image
from dibo.kits.push import push_kit
from dibo.trust import keys
from dibo.trust.policy import Policy, Rule, Trust
from tests.support.servers.fake_registry import FakeRegistry
from tests.unit.kits.test_make import for_arm, layer

TEAM, STRANGER = keys.generate(), keys.generate()


def reader(private: keys.PrivateKey) -> Trust:
    return Trust(policy=Policy(default=Rule(keys=(private.public(),))))


def test_kits_for_two_architectures_under_one_tag(tmp_path: Path) -> None:
    image = layer(tmp_path)
    with FakeRegistry() as registry:
        name = ImageName(host=registry.host, repository="images/kit", tag="6.12")
        first = push_kit(image, name, Trust())
        second = push_kit(for_arm(image), name, Trust())
        assert push_kit(image, name, Trust()) == second != first
        for architecture in ("amd64", "arm64"):
            with choose_image(f"docker://{name}", architecture=architecture, scratch=tmp_path) as found:
                assert found.architecture == architecture
                assert found.layers[0].digest == image.layers[0].digest
        sent = [line for line in registry.state.requests("blobs/uploads") if line.startswith("POST")]
        assert len(sent) == 3  # one layer, and two configs


def test_a_signed_kit(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        name = ImageName(host=registry.host, repository="images/kit", tag="6.12")
        digest = push_kit(layer(tmp_path), name, Trust(sign_key=TEAM))
        reader(TEAM).verify(name, digest)
        with pytest.raises(SignatureError):
            reader(STRANGER).verify(name, digest)


def test_a_tag_of_another_image(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        name = ImageName(host=registry.host, repository="images/web", tag="1")
        registry.state.put_manifest("images/web", "1", {"schemaVersion": 2, "config": {}, "layers": []})
        before = dict(registry.state.manifests)
        with pytest.raises(OutputError, match="something else than kits"):
            push_kit(layer(tmp_path), name, Trust())
        assert registry.state.manifests == before
        assert json.loads(before["images/web", "1"][1])["layers"] == []

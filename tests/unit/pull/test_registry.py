"""Artefacts in a registry that has its days."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from pull.cmdline import Wish
from pull.errors import PullError
from pull.reference import Artefact, parse
from pull.registry import TITLE, Registry, choose
from pull.web import Client, Patience
from tests.support.servers.fake_registry import FakeRegistry

QUICK = Patience(connect=5.0, silence=5.0, pauses=(0.0, 0.0), sleep=lambda _: None)
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY = {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": f"sha256:{'0' * 64}"}


@pytest.fixture
def fake_registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        yield server


def layer(digest: str, size: int, title: str = "") -> dict[str, Any]:
    notes = {"annotations": {TITLE: title}} if title else {}
    return {"mediaType": "application/octet-stream", "digest": digest, "size": size, **notes}


def put(fake_registry: FakeRegistry, content: bytes = b"a disk", tag: str = "1", **more: Any) -> str:
    """An artefact; the digest of its manifest."""
    digest = fake_registry.state.put("team/web", content)
    layers = [layer(digest, len(content), "web.qcow2")]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": EMPTY, "layers": layers, **more}
    return fake_registry.state.put_manifest("team/web", tag, manifest)


def registry(fake_registry: FakeRegistry, reference: str = ":1", **more: Any) -> Registry:
    artefact = parse(f"oci://{fake_registry.host}/team/web{reference}")
    assert isinstance(artefact, Artefact)
    return Registry(Client(QUICK), artefact, Wish(image="", **more))


def content(found: Registry) -> bytes:
    with found.request(found.blob(), 0, None) as answer:
        return answer.whole(1 << 20)


def test_a_file_by_tag_and_by_digest(fake_registry: FakeRegistry) -> None:
    digest = put(fake_registry)
    blob = registry(fake_registry).blob()
    assert (blob.size, blob.title) == (6, "web.qcow2")
    assert content(registry(fake_registry)) == content(registry(fake_registry, f"@{digest}")) == b"a disk"
    fake_registry.state.always(f"manifests/{digest}", "wrong")
    with pytest.raises(PullError, match=f"is not {digest}: do not use it"):
        registry(fake_registry, f":1@{digest}").blob()


def test_a_registry_that_answers_at_the_third_time(fake_registry: FakeRegistry) -> None:
    put(fake_registry)
    fake_registry.state.inject("manifests", 503, "drop")
    assert registry(fake_registry).blob().size == 6


def test_an_index_is_followed_to_this_machine(
    fake_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the rules that dibo itself keeps: names in one form, and nothing for a newer processor."""

    def entry(content: bytes, architecture: str, variant: str = "") -> dict[str, Any]:
        platform = {"os": "linux", "architecture": architecture, "variant": variant}
        return {"digest": put(fake_registry, content, tag=""), "platform": platform}

    entries = [
        entry(b"for a newer processor", "amd64", "v3"),
        entry(b"for a phone", "arm", "v6"),
        entry(b"for another", "arm", "v7"),
        entry(b"a disk", "x86_64"),
        {
            "digest": put(fake_registry, b"for windows", tag=""),
            "platform": {"os": "windows", "architecture": "s390x"},
        },
    ]
    fake_registry.state.put_manifest("team/web", "all", {"mediaType": INDEX, "manifests": entries})

    class Uname:
        machine = "x86_64"

    monkeypatch.setattr("os.uname", Uname)
    assert content(registry(fake_registry, ":all")) == b"a disk"
    monkeypatch.setattr(Uname, "machine", "armv7l")
    assert content(registry(fake_registry, ":all")) == b"for another"
    monkeypatch.setattr(Uname, "machine", "s390x")
    with pytest.raises(PullError, match="has nothing for s390x"):
        registry(fake_registry, ":all").blob()


def test_what_is_for_no_machine_in_particular_comes_last(fake_registry: FakeRegistry) -> None:
    entries = [
        {"digest": put(fake_registry, b"for all", tag="")},
        {
            "digest": put(fake_registry, b"a disk", tag=""),
            "platform": {"os": "linux", "architecture": os.uname().machine},
        },
    ]
    fake_registry.state.put_manifest("team/web", "all", {"mediaType": INDEX, "manifests": entries})
    assert content(registry(fake_registry, ":all")) == b"a disk"
    fake_registry.state.put_manifest("team/web", "all", {"mediaType": INDEX, "manifests": entries[:1]})
    assert content(registry(fake_registry, ":all")) == b"for all"


@pytest.mark.parametrize("tokens", [False, True], ids=["basic", "tokens"])
def test_logins(fake_registry: FakeRegistry, tokens: bool) -> None:
    put(fake_registry)
    fake_registry.state.login, fake_registry.state.tokens = "user:hush", tokens
    assert content(registry(fake_registry, user="user", password="hush")) == b"a disk"
    with pytest.raises(PullError, match=r"wants a login|gives no token") as raised:
        registry(fake_registry, user="user", password="wrong-word").blob()
    assert "wrong-word" not in str(raised.value)


def test_tokens_without_a_login_and_anew_when_they_run_out(fake_registry: FakeRegistry) -> None:
    put(fake_registry)
    fake_registry.state.tokens = True
    found = registry(fake_registry)
    blob = found.blob()
    fake_registry.state.inject(
        "blobs", (401, {"WWW-Authenticate": f'Bearer realm="http://{fake_registry.host}/token"'})
    )
    with found.request(blob, 0, None) as answer:
        assert answer.whole(100) == b"a disk"
    assert len(fake_registry.state.requests("/token")) == 2


def test_a_token_of_the_command_line_is_all_that_is_tried(fake_registry: FakeRegistry) -> None:
    put(fake_registry)
    fake_registry.state.tokens = True
    scope = "repository:team/web:pull"
    assert content(registry(fake_registry, token=f"for {scope}")) == b"a disk"
    with pytest.raises(PullError, match="wants a login"):
        registry(fake_registry, token="nonsense").blob()
    assert fake_registry.state.requests("/token") == []


def test_no_such_thing(fake_registry: FakeRegistry) -> None:
    with pytest.raises(
        PullError, match=r"has no such repository, tag or digest: oci://127\.0\.0\.1:\d+/team/web:1"
    ):
        registry(fake_registry).blob()
    fake_registry.state.always("manifests", 403)
    with pytest.raises(PullError, match="does not allow it"):
        registry(fake_registry).blob()


def test_what_is_no_manifest(fake_registry: FakeRegistry) -> None:
    fake_registry.state.manifests["team/web", "1"] = ("text/html", b"<html>")
    with pytest.raises(PullError, match="is no manifest: is this a registry"):
        registry(fake_registry).blob()
    put(fake_registry, layers=[{"digest": "sha256:1", "size": 3}])
    with pytest.raises(PullError, match=r"the manifest of .* is damaged"):
        registry(fake_registry).blob()


@pytest.mark.parametrize(
    "config",
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"],
)
def test_a_container_image_is_no_disk(fake_registry: FakeRegistry, config: str) -> None:
    put(fake_registry, config={**EMPTY, "mediaType": config})
    with pytest.raises(PullError, match="is a container image, not a disk: `dibo convert`"):
        registry(fake_registry).blob()


def test_which_file_of_several() -> None:
    layers = [
        layer(f"sha256:{n}{'0' * 63}", n, title)
        for n, title in enumerate(("web.qcow2", "web.sha256", "b.raw.xz"))
    ]
    manifest = json.loads(json.dumps({"layers": layers}))
    assert choose(manifest, "x", "b.raw.xz").size == 2
    assert choose({"layers": layers[:2]}, "x", "").size == 0
    assert choose({"layers": [layer(f"sha256:{'a' * 64}", 9)]}, "x", "").size == 9
    for found, wanted, said in (
        (
            layers,
            "",
            "x has not just one disk: its files are web.qcow2, web.sha256, b.raw.xz; image_file= names one",
        ),
        (layers, "c.raw", "x has no file c.raw: its files are web.qcow2"),
        ([], "", "x has not just one disk: its files are none"),
    ):
        with pytest.raises(PullError, match=said):
            choose({"layers": found}, "x", wanted)

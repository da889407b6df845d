"""Artefacts in a registry that has its days."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pull.cmdline import Wish
from pull.errors import PullError
from pull.reference import Artefact, parse
from pull.registry import TITLE, Registry, choose
from pull.web import Client, Patience
from tests.support.moody import Moody

QUICK = Patience(connect=5.0, silence=5.0, pauses=(0.0, 0.0), sleep=lambda _: None)
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY = {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": f"sha256:{'0' * 64}"}


@pytest.fixture
def moody() -> Iterator[Moody]:
    with Moody() as server:
        yield server


def layer(digest: str, size: int, title: str = "") -> dict[str, Any]:
    notes = {"annotations": {TITLE: title}} if title else {}
    return {"mediaType": "application/octet-stream", "digest": digest, "size": size, **notes}


def put(moody: Moody, content: bytes = b"a disk", tag: str = "1", **more: Any) -> str:
    """An artefact; the digest of its manifest."""
    digest = moody.shelf.put("team/web", content)
    layers = [layer(digest, len(content), "web.qcow2")]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": EMPTY, "layers": layers, **more}
    return moody.shelf.put_manifest("team/web", tag, manifest)


def registry(moody: Moody, reference: str = ":1", **more: Any) -> Registry:
    artefact = parse(f"oci://{moody.host}/team/web{reference}")
    assert isinstance(artefact, Artefact)
    return Registry(Client(QUICK), artefact, Wish(image="", **more))


def content(found: Registry) -> bytes:
    with found.request(found.blob(), 0, None) as answer:
        return answer.whole(1 << 20)


def test_a_file_by_tag_and_by_digest(moody: Moody) -> None:
    digest = put(moody)
    blob = registry(moody).blob()
    assert (blob.size, blob.title) == (6, "web.qcow2")
    assert content(registry(moody)) == content(registry(moody, f"@{digest}")) == b"a disk"
    moody.shelf.always(f"manifests/{digest}", "wrong")
    with pytest.raises(PullError, match=f"is not {digest}: do not use it"):
        registry(moody, f":1@{digest}").blob()


def test_a_registry_that_answers_at_the_third_time(moody: Moody) -> None:
    put(moody)
    moody.shelf.mood("manifests", 503, "drop")
    assert registry(moody).blob().size == 6


def test_an_index_is_followed_to_this_machine(moody: Moody, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = put(moody, tag="")
    other = put(moody, b"for another", tag="")
    entries = [
        {"digest": other, "platform": {"os": "linux", "architecture": "arm64"}},
        {"digest": digest, "platform": {"os": "linux", "architecture": "amd64"}},
    ]
    moody.shelf.put_manifest("team/web", "all", {"mediaType": INDEX, "manifests": entries})
    monkeypatch.setattr("pull.registry._MACHINES", {})

    class Uname:
        machine = "amd64"

    monkeypatch.setattr("os.uname", Uname)
    assert content(registry(moody, ":all")) == b"a disk"
    monkeypatch.setattr(Uname, "machine", "s390x")
    with pytest.raises(PullError, match="has nothing for s390x"):
        registry(moody, ":all").blob()


@pytest.mark.parametrize("tokens", [False, True], ids=["basic", "tokens"])
def test_logins(moody: Moody, tokens: bool) -> None:
    put(moody)
    moody.shelf.login, moody.shelf.tokens = "user:hush", tokens
    assert content(registry(moody, user="user", password="hush")) == b"a disk"
    with pytest.raises(PullError, match=r"wants a login|gives no token") as raised:
        registry(moody, user="user", password="wrong-word").blob()
    assert "wrong-word" not in str(raised.value)


def test_tokens_without_a_login_and_anew_when_they_run_out(moody: Moody) -> None:
    put(moody)
    moody.shelf.tokens = True
    found = registry(moody)
    blob = found.blob()
    moody.shelf.mood("blobs", (401, {"WWW-Authenticate": f'Bearer realm="http://{moody.host}/token"'}))
    with found.request(blob, 0, None) as answer:
        assert answer.whole(100) == b"a disk"
    assert len(moody.shelf.requests("/token")) == 2


def test_a_token_of_the_command_line_is_all_that_is_tried(moody: Moody) -> None:
    put(moody)
    moody.shelf.tokens = True
    scope = "repository:team/web:pull"
    assert content(registry(moody, token=f"for {scope}")) == b"a disk"
    with pytest.raises(PullError, match="wants a login"):
        registry(moody, token="nonsense").blob()
    assert moody.shelf.requests("/token") == []


def test_no_such_thing(moody: Moody) -> None:
    with pytest.raises(
        PullError, match=r"has no such repository, tag or digest: oci://127\.0\.0\.1:\d+/team/web:1"
    ):
        registry(moody).blob()
    moody.shelf.always("manifests", 403)
    with pytest.raises(PullError, match="does not allow it"):
        registry(moody).blob()


def test_what_is_no_manifest(moody: Moody) -> None:
    moody.shelf.manifests["team/web", "1"] = ("text/html", b"<html>")
    with pytest.raises(PullError, match="is no manifest: is this a registry"):
        registry(moody).blob()
    put(moody, layers=[{"digest": "sha256:1", "size": 3}])
    with pytest.raises(PullError, match=r"the manifest of .* is damaged"):
        registry(moody).blob()


@pytest.mark.parametrize(
    "config",
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"],
)
def test_a_container_image_is_no_disk(moody: Moody, config: str) -> None:
    put(moody, config={**EMPTY, "mediaType": config})
    with pytest.raises(PullError, match="is a container image, not a disk: `dibo convert`"):
        registry(moody).blob()


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

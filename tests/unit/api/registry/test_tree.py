"""`dibo tree` of a registry in memory: what refers to an image, and what only claims to."""

from __future__ import annotations

import json

import pytest

from dibo.errors import SignatureError
from tests.unit.api.registry.conftest import Place

pytestmark = pytest.mark.slow


def test_a_tree(place: Place, signed: str) -> None:
    nodes = place.tree(signed)
    assert [(node["kind"], node["relation"], node["title"]) for node in nodes] == [
        ("index", "root", None),
        ("image", "image", "linux/amd64"),
        ("disk", "referrer", "web.qcow2"),
        ("signature", "referrer", None),
        ("sbom", "referrer", "web.cdx.json"),
        ("signature", "referrer", None),
        ("image", "image", "linux/arm64"),
        ("signature", "referrer", None),
    ]
    by_digest = {node["digest"]: node for node in nodes}
    disk = next(node for node in nodes if node["kind"] == "disk")
    assert by_digest[disk["parent"]]["title"] == "linux/amd64"
    assert all(node["tag"] == f"sha256-{node['parent'][7:]}.sig" for node in nodes if node["tag"])
    assert not any(node["problem"] for node in nodes)

    text = place.good("tree", signed)
    assert text.splitlines()[0] == signed
    assert f"├── image       {nodes[1]['digest']}  linux/amd64, 1 layer, " in text
    assert (
        f"│   ├── disk        {disk['digest']}  web.qcow2, 100.0 KiB" in text or "web.qcow2, 100 KiB" in text
    )
    assert text.count("signature  ") == 3


def test_the_tree_of_a_digest(place: Place, signed: str) -> None:
    disk = next(node for node in place.tree(signed) if node["kind"] == "disk")
    nodes = place.tree(place.name(f"staging/web@{disk['digest']}"))
    assert [node["kind"] for node in nodes] == ["disk", "signature"]


def test_signatures_and_attestations_of_cosign_by_their_tags(place: Place) -> None:
    """As cosign stored them before there were subjects."""
    digest = place.push_image("web", "1")
    for ending in ("sig", "att", "sbom"):
        place.push_image("web", f"sha256-{digest[7:]}.{ending}", text=ending)
    nodes = place.tree(place.name("web:1"))
    assert [node["kind"] for node in nodes] == ["image", "sbom", "attestation", "signature"]
    assert all(node["tag"].startswith("sha256-") for node in nodes[1:])


def test_what_cannot_be_used_is_shown_with_its_problem(place: Place, signed: str) -> None:
    """A stranger wrote other bytes, or removed a manifest."""
    nodes = place.tree(signed)
    disk = next(node for node in nodes if node["kind"] == "disk")
    kind, body = place.state.manifests["staging/web", disk["digest"]]
    changed = json.dumps({**json.loads(body), "layers": []}).encode()
    place.state.manifests["staging/web", disk["digest"]] = (kind, changed)
    found = next(node for node in place.tree(signed) if node["kind"] == "disk")
    assert "came for" in found["problem"]
    assert "unusable: " in place.good("tree", signed)


def test_controls_in_names_do_not_reach_the_terminal(place: Place) -> None:
    place.push_image("web", "1")
    place.good("push", "--attach", place.write("\x1b[31mred.qcow2"), place.name("web:1"))
    assert "\x1b" not in place.good("tree", place.name("web:1"))


def test_with_a_key_the_image_must_be_signed(place: Place, signed: str) -> None:
    place.good("tree", *place.verifying(), signed)
    code, out, err = place.dibo("tree", *place.verifying("stranger"), signed)
    assert code == SignatureError.exit_code and not out and "does not count" in err


def test_what_is_not_there(place: Place) -> None:
    code, _, err = place.dibo("tree", place.name("nothing:1"))
    assert code != 0 and "answered 404" in err
    code, _, err = place.dibo("tree", "web")
    assert code == 2 and "names nothing in a registry" in err

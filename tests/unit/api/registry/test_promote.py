"""`dibo promote` on registries in memory: what is copied, what is not sent again, and what the policy refuses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest

from dibo.errors import SignatureError
from dibo.images.manifest import OCI_MANIFEST
from dibo.images.reference import parse_repository
from dibo.images.registry.referrers import push_referrer
from dibo.trust import keys
from dibo.trust.statements import bundle_text, statement_text
from tests.support.servers.fake_registry import FakeRegistry
from tests.unit.api.registry.conftest import Place

pytestmark = pytest.mark.slow


@pytest.fixture
def other(server: FakeRegistry, place: Place) -> Iterator[FakeRegistry]:
    """Another registry, which lists referrers where the first does."""
    with FakeRegistry() as started:
        started.state.referrers = server.state.referrers
        yield started


def shape(place: Place, reference: str) -> list[tuple[str, str, str]]:
    return [(node["kind"], node["digest"], node["parent"]) for node in place.tree(reference)]


def test_within_a_registry_nothing_is_sent(place: Place, signed: str) -> None:
    place.state.asked.clear()
    document = place.json("promote", *place.verifying(), signed, place.name("images/web:1"))
    assert shape(place, place.name("images/web:1")) == shape(place, signed)
    assert document["reference"].startswith(place.name("images/web:1@sha256:"))
    assert (document["blobs"]["sent"], document["blobs"]["sent_bytes"]) == (0, 0)
    assert document["blobs"]["mounted"] > 4 and document["manifests"] == document["new_manifests"] == 8
    layers = [hashlib.sha256(text.encode().ljust(10240, b"\0")).hexdigest() for text in ("amd64", "arm64")]
    assert all(("staging/web", f"sha256:{layer}") in place.state.blobs for layer in layers)
    assert not [
        layer for layer in layers if place.state.requests(f"GET /v2/staging/web/blobs/sha256:{layer}")
    ]
    puts = [request for request in place.state.requests("PUT ") if "/manifests/" in request]
    assert puts[-1].endswith("/images/web/manifests/1"), "the name comes last"

    place.state.asked.clear()
    document = place.json("promote", *place.verifying(), signed, place.name("images/web"))
    assert document["new_manifests"] == 0 and document["blobs"]["mounted"] == 0
    assert not place.state.requests("uploads")


def test_to_another_registry(place: Place, signed: str, other: FakeRegistry) -> None:
    target = f"{other.host}/images/web:2"
    document = place.json("promote", *place.verifying(), signed, target)
    assert shape(place, target) == shape(place, signed)
    assert document["blobs"]["sent"] > 4 and document["blobs"]["mounted"] == 0
    document = place.json("promote", *place.verifying(), signed, target)
    assert document["blobs"]["sent"] == 0 and document["new_manifests"] == 0


def test_a_dry_run_copies_nothing(place: Place, signed: str) -> None:
    held = dict(place.state.manifests)
    target = place.name("images/web:1")
    out = place.good("promote", "--dry-run", *place.verifying(), signed, target)
    assert place.state.manifests == held
    assert "8 manifests: 8 to copy, 0 present" in out and "web.qcow2" in out
    document = place.json("promote", "--dry-run", *place.verifying(), signed, target)
    assert document["dry_run"] and document["new_manifests"] == 8


def test_what_is_not_signed_is_not_copied(place: Place, signed: str) -> None:
    held = dict(place.state.manifests)
    code, _, err = place.dibo("promote", *place.verifying("stranger"), signed, place.name("images/web:1"))
    assert code == SignatureError.exit_code and "does not count" in err
    assert place.state.manifests == held


def test_an_unsigned_referrer_is_refused_or_left_behind(place: Place, signed: str) -> None:
    """A stranger who may write to the repository adds a disk to the signed image."""
    (place.directory / "web.cdx.json").unlink()
    place.good("push", "--attach", place.write("evil.qcow2", b"QFI\xfbevil"), signed)
    target = place.name("images/web:1")
    held = dict(place.state.manifests)
    code, _, err = place.dibo("promote", *place.verifying(), signed, target)
    assert (
        code == SignatureError.exit_code
        and "1 referrer of" in err
        and "disk evil.qcow2" in err
        and "--skip-unsigned" in err
    )
    assert place.state.manifests == held
    document = place.json("promote", "--skip-unsigned", *place.verifying(), signed, target)
    assert len(document["left"]) == 1 and "evil.qcow2" in document["left"][0]
    titles = [node["title"] for node in place.tree(target)]
    assert "web.qcow2" in titles and "evil.qcow2" not in titles
    place.good("promote", signed, place.name("all/web:1"))
    assert "evil.qcow2" in [node["title"] for node in place.tree(place.name("all/web:1"))]


def test_the_copies_are_signed_for_their_place(place: Place, signed: str) -> None:
    target = place.name("images/web:1")
    arguments = [*place.verifying(), *place.key("release"), signed, target]
    place.good("promote", *arguments)
    place.good("key", "verify", *place.verifying("release"), target)
    assert place.kinds(target).count("signature") >= 5, "those of staging came along"
    place.good("promote", *place.verifying("release"), target, place.name("next/web:1"))

    code, _, err = place.dibo("key", "verify", *place.verifying(), target)
    assert code == SignatureError.exit_code and "staging/web, expected" in err
    policy = place.directory / "policy.yaml"
    staging = place.name("staging/web")
    policy.write_text(
        f"repositories:\n  {place.name('images/web')}: {{keys: [team.pub], signed-as: '{staging}'}}\n"
    )
    place.good("key", "verify", "--policy", str(policy), target)


def test_signatures_that_the_target_has_stay(place: Place, signed: str) -> None:
    target = place.name("images/web:1")
    for _ in range(2):
        place.good("promote", *place.verifying(), *place.key("release"), signed, target)
    place.good("key", "sign", *place.key("team"), signed)
    place.good("promote", *place.verifying(), signed, target)
    place.good("key", "verify", *place.verifying("release"), target)


def test_an_index_whose_images_are_signed(place: Place) -> None:
    index = place.push_index("staging/web", "1", "amd64", "arm64")
    name = place.name("staging/web")
    target = place.name("images/web:1")
    images = [
        entry["digest"] for entry in json.loads(place.state.manifests["staging/web", index][1])["manifests"]
    ]
    place.good("key", "sign", *place.key("team"), f"{name}@{images[0]}")
    code, _, err = place.dibo("promote", *place.verifying(), f"{name}:1", target)
    assert code == SignatureError.exit_code and "is not signed" in err
    place.good("key", "sign", *place.key("team"), f"{name}@{images[1]}")
    place.good("promote", *place.verifying(), f"{name}:1", target)
    assert place.kinds(target) == ["image", "image", "index", "signature", "signature"]


def test_an_interrupted_copy_leaves_the_name(place: Place, signed: str) -> None:
    before = place.push_image("images/web", "1", text="before")
    place.state.always("PUT /v2/images/web/manifests/sha256-", 500)
    place.state.always("GET /v2/images/web/referrers/", 500)
    code, _, _ = place.dibo("promote", signed, place.name("images/web:1"))
    assert code != 0
    assert place.state.manifests["images/web", "1"] == place.state.manifests["images/web", before]


def test_a_registry_that_sends_other_bytes(place: Place, signed: str, other: FakeRegistry) -> None:
    layer = next(blob for name, blob in place.state.blobs if name == "staging/web")
    place.state.always(f"GET /v2/staging/web/blobs/{layer}", "wrong")
    code, _, err = place.dibo("promote", signed, f"{other.host}/images/web:1")
    assert code != 0 and "answered 400" in err
    assert not [tag for _, tag in other.state.manifests if tag == "1"]


def test_a_missing_image_of_an_index(place: Place, signed: str) -> None:
    image = next(node for node in place.tree(signed) if node["title"] == "linux/arm64")
    del place.state.manifests["staging/web", image["digest"]]
    code, _, err = place.dibo("promote", signed, place.name("images/web:1"))
    assert code != 0 and f"cannot be copied: {image['digest']}" in err


def test_a_statement_that_the_team_signed_needs_no_other_signature(place: Place) -> None:
    digest = place.push_image("staging/web", "1")
    name = place.name("staging/web:1")
    place.good("key", "sign", *place.key("team"), name)
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "web", "digest": {"sha256": digest[7:]}}],
        "predicateType": "https://example.com/test",
        "predicate": {},
    }
    for signer, code in (("team", 0), ("stranger", SignatureError.exit_code)):
        key = keys.read_private_key(place.directory / f"{signer}.key", password=b"")
        bundle = bundle_text(statement_text(statement), key)
        kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
        layer = {"mediaType": kind, "digest": place.state.put("staging/web", bundle), "size": len(bundle)}
        empty = {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2}
        referrer = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": kind,
            "config": {**empty, "digest": place.state.put("staging/web", b"{}")},
            "layers": [layer],
            "subject": {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1},
        }
        body = json.dumps(referrer).encode()
        push_referrer(parse_repository(place.name("staging/web")), body)
        done = place.dibo("promote", *place.verifying(), name, place.name(f"images/{signer}:1"))
        assert done[0] == code, done


@pytest.mark.parametrize(
    ("target", "why"),
    [("web", "does not say where to push to"), ("{host}/web@sha256:" + "0" * 64, "does not say where")],
)
def test_what_is_no_target(place: Place, signed: str, target: str, why: str) -> None:
    code, _, err = place.dibo("promote", signed, target.replace("{host}", place.server.host))
    assert code == 2 and why in err


def test_a_digest_needs_a_tag(place: Place, signed: str) -> None:
    digest = place.tree(signed)[0]["digest"]
    source = place.name(f"staging/web@{digest}")
    code, _, err = place.dibo("promote", source, place.name("images/web"))
    assert code == 2 and "has no tag" in err
    place.good("promote", source, place.name("images/web:3"))

"""`dibo push` with what lies beside an artefact, and attached to the image that it was made of."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from dibo.artefacts import oci_artefact
from dibo.images.manifest import digest_of
from dibo.trust.attached import SIGNATURES_TYPE
from dibo.trust.statements import statement_text
from tests.unit.api.registry.conftest import QCOW2, Place

pytestmark = pytest.mark.slow

PACKAGES = [{"name": "bash", "version": "5.2-1", "architecture": "amd64"}]


def record(place: Place, **more: Any) -> None:
    """A manifest beside web.qcow2."""
    artefact = {"type": "qcow2", "name": "web.qcow2", "size": len(QCOW2), "sha256": None}
    document = {"format": 1, "architecture": "amd64", "packages": PACKAGES, "artefacts": [artefact], **more}
    place.write("web.manifest.json", json.dumps(document).encode())


def bill(place: Place, name: str, packages: list[dict[str, str]]) -> None:
    if name.endswith(".cdx.json"):
        listed = [{**package, "purl": f"pkg:deb/{package['name']}"} for package in packages]
        document: dict[str, Any] = {"components": [*listed, {"name": "/etc/hosts", "type": "file"}]}
    else:
        references = [{"referenceType": "purl"}]
        document = {
            "packages": [
                {"name": package["name"], "versionInfo": package["version"], "externalRefs": references}
                for package in packages
            ]
        }
    place.write(name, json.dumps(document).encode())


def provenance(place: Place, content: bytes = QCOW2) -> None:
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "web.qcow2", "digest": {"sha256": hashlib.sha256(content).hexdigest()}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {},
    }
    place.write("web.provenance.json", statement_text(statement))


def test_what_lies_beside_is_sent(place: Place) -> None:
    path = place.write("web.qcow2")
    record(place)
    for name in ("web.cdx.json", "web.spdx.json"):
        bill(place, name, PACKAGES)
    provenance(place)
    name = place.name("disks/web:1")
    document = place.json("push", path, name)
    assert [(sent["artifact_type"], sent["title"]) for sent in document["referrers"]] == [
        (oci_artefact.CYCLONEDX, "web.cdx.json"),
        (oci_artefact.SPDX, "web.spdx.json"),
        (oci_artefact.IN_TOTO, "web.provenance.json"),
    ]
    assert document["subject"] is None
    nodes = place.tree(name)
    assert [node["kind"] for node in nodes] == ["disk", "sbom", "sbom", "provenance"]
    assert {node["parent"] for node in nodes[1:]} == {nodes[0]["digest"]}
    assert place.json("push", path, name) == document, "the same once more"
    assert place.tree(name) == nodes

    alone = place.json("push", "--alone", path, place.name("alone/web:1"))
    assert alone["referrers"] == [] and place.kinds(place.name("alone/web:1")) == ["disk"]


@pytest.mark.parametrize("name", ["web.cdx.json", "web.spdx.json"])
def test_a_bill_of_another_image(place: Place, name: str) -> None:
    path = place.write("web.qcow2")
    record(place)
    bill(place, name, [{"name": "bash", "version": "5.2-2"}])
    code, _, err = place.dibo("push", path, place.name("disks/web:1"))
    assert code == 2 and f"{name} is of another image: 2 packages differ" in err
    assert "bash 5.2-1, bash 5.2-2" in err and "dibo sbom" in err
    place.write(name, b"[" * 100_000)
    code, _, err = place.dibo("push", path, place.name("disks/web:1"))
    assert code == 2 and "is no bill of materials" in err
    assert not [tag for _, tag in place.state.manifests if tag == "1"]


def test_provenance_of_another_artefact(place: Place) -> None:
    path = place.write("web.qcow2")
    provenance(place, b"another")
    code, _, err = place.dibo("push", path, place.name("disks/web:1"))
    assert code == 2 and "web.provenance.json is of another artefact" in err


def test_all_of_it_refers_to_the_image(place: Place) -> None:
    image = place.push_image("images/web", "1")
    path = place.write("web.qcow2")
    config = json.loads(place.state.manifests["images/web", image][1])["config"]["digest"]
    record(place, image={"name": "web", "digest": config, "key": None})
    bill(place, "web.cdx.json", PACKAGES)
    document = place.json("push", "--attach", *place.key("team"), path, place.name("images/web:1"))
    assert document["subject"] == image
    assert document["reference"].startswith(place.name("images/web@sha256:"))
    nodes = place.tree(place.name("images/web:1"))
    found = [(node["kind"], node["parent"] == image) for node in nodes[1:]]
    assert found == [("disk", True), ("signature", False), ("sbom", True), ("signature", False)]
    assert place.tree(document["reference"])[0]["kind"] == "disk", "it is there by its digest"


def test_an_artefact_is_attached_to_what_it_was_made_of(place: Place) -> None:
    path = place.write("web.qcow2")
    image = place.push_image("images/web", "1", text="made of this")
    config = json.loads(place.state.manifests["images/web", image][1])["config"]["digest"]
    name = place.name("images/web:1")
    record(place, image={"name": name, "digest": config, "key": None})
    place.good("push", "--attach", path, name)
    place.good("push", "--attach", path, place.name(f"images/web@{image}"))
    record(place, image={"name": name, "digest": f"sha256:{'0' * 64}", "key": None})
    code, _, err = place.dibo("push", "--attach", path, name)
    assert code == 2 and "was not made of" in err
    record(place, layers=[{"key": "0" * 64}])
    code, _, err = place.dibo("push", "--attach", path, name)
    assert code == 2 and f"has {'0' * 19}, the image none" in err


def test_the_image_for_the_architecture_of_the_artefact(place: Place) -> None:
    place.push_index("images/web", "1", "amd64", "arm64")
    name = place.name("images/web:1")
    arm = next(node for node in place.tree(name) if node["title"] == "linux/arm64")
    body = json.loads(place.state.manifests["images/web", arm["digest"]][1])
    record(place, architecture="arm64", image={"name": name, "digest": body["config"]["digest"]})
    document = place.json("push", "--attach", place.write("web.qcow2"), name)
    assert document["subject"] == arm["digest"]


def test_nothing_to_attach_to(place: Place) -> None:
    path = place.write("web.qcow2")
    for reference, why in (("web:1", "names nothing in a registry"), (place.name("no:1"), "answered 404")):
        code, _, err = place.dibo("push", "--attach", path, reference)
        assert code != 0 and why in err
    assert not place.state.blobs


def test_a_signature_is_among_the_referrers_and_under_its_tag(place: Place) -> None:
    """What cosign finds either way; older signatures go from the list when one is added."""
    digest = place.push_image("web", "1")
    name = place.name("web:1")
    place.good("key", "sign", *place.key("team"), name)
    place.good("key", "sign", *place.key("release"), name)
    kind, body = place.state.manifests["web", f"sha256-{digest[7:]}.sig"]
    document = json.loads(body)
    assert kind == document["mediaType"] and len(document["layers"]) == 2
    assert document["subject"]["digest"] == digest
    assert document["artifactType"] == SIGNATURES_TYPE
    tagged = [node for node in place.tree(name) if node["tag"]]
    assert [node["digest"] for node in tagged] == [digest_of(body)]
    if not place.state.referrers:
        assert len(place.tree(name)) == 2
    for signer in ("team", "release"):
        place.good("key", "verify", *place.verifying(signer), name)

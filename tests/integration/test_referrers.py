"""What dibo attaches to images in a real registry, as other clients see it, and what they attach, as dibo sees it.

docker-registry of Debian 12 is distribution 2.8, which has no list of referrers: here dibo and the others keep the tag
that stands in for it. Registries that have the list: tests/unit/api/registry, with a registry in memory.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oras.client
import pytest

from dibo.cli.main import dibo
from dibo.images.reference import parse_repository
from dibo.images.registry import api
from dibo.trust.attached import SIGNATURE
from tests.support.requirements import need
from tests.support.servers import registry_clients
from tests.support.servers.registry import OCI_INDEX, OCI_MANIFEST, Registry, registry
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.integration
QCOW2 = b"QFI\xfb" + bytes(range(256)) * 400
NOTE = "application/vnd.example.note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """A registry with the index `staging/web:1`, signed, whose first image has a disk and a bill."""

    hub: Registry
    directory: Path
    image: str
    index: str

    @property
    def web(self) -> str:
        return f"{self.hub.host}/staging/web:1"

    @property
    def key(self) -> list[str]:
        return ["--sign-key", str(self.directory / "team.key")]

    @property
    def public(self) -> Path:
        return self.directory / "team.pub"


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    place = tmp_path_factory.mktemp("team")
    with pytest.MonkeyPatch.context() as patch, registry(tmp_path_factory.mktemp("hub"), delete=True) as hub:
        patch.setenv("DIBO_SIGN_PASSWORD", "")
        good("key", "generate", str(place / "team"))
        image = hub.push_image("staging/web", "amd64")
        entries = [
            entry(hub, image, "amd64"),
            entry(hub, hub.push_image("staging/web", "arm64", comment="arm64"), "arm64"),
        ]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        made = Team(
            hub=hub,
            directory=place,
            image=image,
            index=hub.push("staging/web", "1", index, OCI_INDEX),
        )
        good("key", "sign", *made.key, made.web)
        (place / "web.qcow2").write_bytes(QCOW2)
        (place / "web.cdx.json").write_text('{"bomFormat": "CycloneDX", "components": []}')
        good("push", "--attach", *made.key, str(place / "web.qcow2"), made.web)
        yield made


def good(*words: str) -> None:
    assert dibo(list(words)) == 0, words


def entry(hub: Registry, digest: str, architecture: str) -> dict[str, Any]:
    body = api.read_manifest(parse_repository(f"{hub.host}/staging/web").at(digest))
    platform = {"os": "linux", "architecture": architecture}
    return {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(body), "platform": platform}


def nodes(capsys: pytest.CaptureFixture[str], reference: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    good("tree", "--json", reference)
    listed: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["nodes"]
    return listed


def skopeo(*words: str) -> bytes:
    need("skopeo")
    done = subprocess.run(
        ["skopeo", *words, "--tls-verify=false"], capture_output=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_other_clients_see_what_was_attached(
    team: Team, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = nodes(capsys, team.web)
    disk = next(node for node in listed if node["kind"] == "disk")
    assert disk["parent"] == team.image
    place = f"docker://{team.hub.host}/staging/web"

    raw = json.loads(skopeo("inspect", "--raw", f"{place}@{disk['digest']}"))
    assert raw["subject"]["digest"] == team.image
    tags = json.loads(skopeo("list-tags", place))["Tags"]
    assert f"sha256-{team.image[7:]}" in tags and f"sha256-{team.index[7:]}.sig" in tags
    stand_in = json.loads(skopeo("inspect", "--raw", f"{place}:sha256-{team.image[7:]}"))
    assert {found["artifactType"] for found in stand_in["manifests"]} == {
        node["artifact_type"] for node in listed if node["parent"] == team.image
    }
    skopeo("copy", "--all", f"{place}:1", f"dir:{tmp_path / 'copied'}")

    client = oras.client.OrasClient(insecure=True)
    client.pull(target=f"{team.hub.host}/staging/web@{disk['digest']}", outdir=str(tmp_path / "pulled"))
    assert (tmp_path / "pulled/web.qcow2").read_bytes() == QCOW2


def test_openssl_verifies_the_signatures(team: Team, tmp_path: Path) -> None:
    """As the specification of cosign has it, with nothing of dibo's between."""
    need("openssl")
    place = parse_repository(f"{team.hub.host}/staging/web")
    _, manifest = api.manifest(place.tagged(f"sha256-{team.index[7:]}.sig"))
    (layer,) = manifest["layers"]
    payload, signature = tmp_path / "payload", tmp_path / "signature"
    payload.write_bytes(api.read_small(place, layer["digest"], limit=1 << 16))
    signature.write_bytes(base64.b64decode(layer["annotations"][SIGNATURE]))
    claims = json.loads(payload.read_text())["critical"]
    assert claims["image"]["docker-manifest-digest"] == team.index
    argv = [
        "openssl",
        "dgst",
        "-sha256",
        "-verify",
        str(team.public),
        "-signature",
        str(signature),
        str(payload),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.stdout == "Verified OK\n", done.stderr


def test_another_client_adds_to_the_same_list(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    """@sigstore/oci keeps the tag as the specification says, and so does dibo: nobody loses what another put there."""
    registry_clients.install()
    before = {node["digest"] for node in nodes(capsys, team.web)}
    added = registry_clients.attach(team.hub.host, "staging/web", team.image, NOTE, "a note")
    listed = nodes(capsys, team.web)
    assert {node["digest"] for node in listed} == before | {added["digest"]}
    note = next(node for node in listed if node["digest"] == added["digest"])
    assert (note["kind"], note["artifact_type"], note["parent"]) == ("other", NOTE, team.image)
    assert not note["problem"]

    second = team.directory / "second.qcow2"
    second.write_bytes(QCOW2 + b"second")
    good("push", "--attach", "--alone", *team.key, str(second), team.web)
    assert {node["digest"] for node in nodes(capsys, team.web)} > before | {added["digest"]}


def test_promoted_between_registries(team: Team, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other").mkdir()
    with registry(tmp_path / "other") as other:
        for target, mounted in (
            (f"{team.hub.host}/images/web:1", True),
            (f"{other.host}/images/web:1", False),
        ):
            for first in (True, False):
                capsys.readouterr()
                good(
                    *("promote", "--json", "--verify-key", str(team.public)),
                    *("--skip-unsigned", team.web, target),
                )
                document = json.loads(capsys.readouterr().out)
                blobs = document["blobs"]
                assert bool(blobs["mounted"]) is (mounted and first)
                assert bool(blobs["sent"]) is (not mounted and first)
                assert bool(document["new_manifests"]) is first
            shape = [(node["kind"], node["digest"]) for node in nodes(capsys, target)]
            kept = [
                (node["kind"], node["digest"]) for node in nodes(capsys, team.web) if node["kind"] != "other"
            ]
            assert shape == kept and ("disk" in {kind for kind, _ in shape})
            skopeo("copy", "--all", f"docker://{target}", f"dir:{tmp_path / f'copied-{mounted}'}")
            found = json.loads((tmp_path / f"copied-{mounted}/manifest.json").read_text())
            assert found["manifests"][0]["digest"] == team.image

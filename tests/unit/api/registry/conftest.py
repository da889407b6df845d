"""A registry in memory with an image of two architectures, signed by a team, and a disk that refers to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dibo.cli.main import dibo
from dibo.images.manifest import OCI_INDEX, OCI_MANIFEST
from dibo.trust import keys
from tests.support.servers.fake_registry import FakeRegistry, RegistryState

QCOW2: Final = b"QFI\xfb" + bytes(range(256)) * 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A registry, a directory with team.key, team.pub, stranger.key, stranger.pub, and what commands print."""

    server: FakeRegistry
    directory: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def state(self) -> RegistryState:
        return self.server.state

    def key(self, name: str) -> list[str]:
        return ["--sign-key", str(self.directory / f"{name}.key")]

    def verifying(self, name: str = "team") -> list[str]:
        return ["--verify-key", str(self.directory / f"{name}.pub")]

    def name(self, rest: str) -> str:
        return f"{self.server.host}/{rest}"

    def dibo(self, *words: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        self.capsys.readouterr()
        code = dibo(list(words))
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def good(self, *words: str) -> str:
        code, out, err = self.dibo(*words)
        assert code == 0, err
        return out

    def json(self, *words: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.good(*words, "--json"))
        return document

    def write(self, name: str, content: bytes = QCOW2) -> str:
        path = self.directory / name
        path.write_bytes(content)
        return str(path)

    def push_image(self, repository: str, tag: str, architecture: str = "amd64", *, text: str = "") -> str:
        """Put an image with one layer; its digest."""
        layer = text.encode().ljust(10240, b"\0")
        diff_id = self.state.put(repository, layer)
        config = {
            "os": "linux",
            "architecture": architecture,
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }
        body = json.dumps(config).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": self.state.put(repository, body),
                "size": len(body),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": diff_id,
                    "size": len(layer),
                }
            ],
        }
        return self.state.put_manifest(repository, tag, manifest)

    def push_index(self, repository: str, tag: str, *architectures: str) -> str:
        """Put images for the architectures, and an index of them; its digest."""
        entries = []
        for architecture in architectures:
            digest = self.push_image(repository, "", architecture, text=architecture)
            entries.append(
                {
                    "mediaType": OCI_MANIFEST,
                    "digest": digest,
                    "size": len(self.state.manifests[repository, digest][1]),
                    "platform": {"os": "linux", "architecture": architecture},
                }
            )
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        return self.state.put_manifest(repository, tag, index)

    def tree(self, reference: str) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = self.json("tree", reference)["nodes"]
        return nodes

    def kinds(self, reference: str) -> list[str]:
        return sorted(node["kind"] for node in self.tree(reference))


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key pairs; the private halves as plain PEM, which takes no time to read."""
    directory = tmp_path_factory.mktemp("keys")
    for name in ("team", "stranger", "release"):
        private = keys.generate()
        pem = private.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (directory / f"{name}.key").write_bytes(pem)
        (directory / f"{name}.pub").write_bytes(private.public().pem())
    return directory


@pytest.fixture(params=["list", "tag"])
def place(
    request: pytest.FixtureRequest,
    server: FakeRegistry,
    pauses: list[float],
    pairs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Place:
    """With a registry that lists referrers, and with one that does not."""
    server.state.referrers = request.param == "list"
    for file in pairs.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return Place(server=server, directory=tmp_path, capsys=capsys)


@pytest.fixture
def signed(place: Place) -> str:
    """The reference of an index of two images, signed, with a signed disk and bill of the first of them."""
    place.push_index("staging/web", "1", "amd64", "arm64")
    name = place.name("staging/web:1")
    place.good("key", "sign", *place.key("team"), name)
    place.write("web.cdx.json", b'{"bomFormat": "CycloneDX", "components": []}')
    place.good("push", "--attach", *place.key("team"), place.write("web.qcow2"), name)
    return name

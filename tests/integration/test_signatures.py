"""skopeo agrees with dibo on signatures, both ways, through a real registry.

skopeo of Debian 12 is built without sigstore, so that of Debian 13 is unpacked for the time of the tests.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dibo.images.reference import ImageName, parse_image_name
from dibo.trust import keys
from dibo.trust.keys import PrivateKey
from dibo.trust.policy import Policy, Rule, Trust
from tests.support.requirements import need, unmet
from tests.support.servers.registry import registry

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def skopeo(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """skopeo of Debian 13, by its own loader."""
    need("mmdebstrap")
    root = tmp_path_factory.mktemp("skopeo") / "root"
    command = ["mmdebstrap", "--quiet", "--variant=extract", "--include=skopeo", "trixie", str(root)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        unmet(f"skopeo of Debian 13 cannot be had: {made.stderr[-200:]}")
    return started_from(root)


def started_from(root: Path) -> list[str]:
    loader, libraries = root / "usr/lib64/ld-linux-x86-64.so.2", root / "usr/lib/x86_64-linux-gnu"
    return [str(loader), "--library-path", str(libraries), str(root / "usr/bin/skopeo")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """A registry with one image, signed by the team, and skopeo with its files."""

    skopeo: list[str]
    directory: Path
    name: ImageName
    team: PrivateKey

    def copy(
        self, target: str, requirement: dict[str, str], *options: str
    ) -> subprocess.CompletedProcess[str]:
        """Copy the image, if a policy.json with that one requirement lets it."""
        policy = self.directory / "policy.json"
        policy.write_text(json.dumps({"default": [requirement]}))
        command = [
            *self.skopeo,
            "--policy",
            str(policy),
            "--registries.d",
            str(self.directory / "registries.d"),
        ]
        command += ["copy", "--src-tls-verify=false", "--dest-tls-verify=false", *options]
        return subprocess.run([*command, f"docker://{self.name}", target], capture_output=True, text=True)

    def signed_by(self, name: str) -> dict[str, str]:
        return {"type": "sigstoreSigned", "keyPath": str(self.directory / f"{name}.pub")}


@pytest.fixture
def images(skopeo: list[str], tmp_path: Path) -> Iterator[Images]:
    team = keys.generate()
    keys.write_pair(team, tmp_path / "team", password=b"secret")
    keys.write_pair(keys.generate(), tmp_path / "stranger", password=b"secret")
    with registry(tmp_path) as hub:
        attachments = f"docker:\n  {hub.host}:\n    use-sigstore-attachments: true\n"
        (tmp_path / "registries.d").mkdir()
        (tmp_path / "registries.d/hub.yaml").write_text(attachments)
        name = parse_image_name(f"{hub.host}/images/web:1")
        Trust(sign_key=team).sign(name, hub.push_image("images/web", "1"))
        yield Images(skopeo=skopeo, directory=tmp_path, name=name, team=team)


def test_skopeo_verifies_what_dibo_signed(images: Images) -> None:
    done = images.copy(f"dir:{images.directory}/team", images.signed_by("team"))
    assert done.returncode == 0, done.stderr
    done = images.copy(f"dir:{images.directory}/stranger", images.signed_by("stranger"))
    assert done.returncode != 0
    assert "cryptographic signature verification failed" in done.stderr


def test_dibo_verifies_what_skopeo_signed(images: Images) -> None:
    """With the encrypted key that dibo wrote."""
    password, copied = images.directory / "password", f"{images.name.host}/images/copied:1"
    password.write_text("secret")
    options = ["--sign-by-sigstore-private-key", f"{images.directory}/team.key"]
    options += ["--sign-passphrase-file", str(password)]
    done = images.copy(f"docker://{copied}", {"type": "insecureAcceptAnything"}, *options)
    assert done.returncode == 0, done.stderr
    manifest = images.directory / "manifest"
    command = [*images.skopeo, "inspect", "--raw", "--tls-verify=false", f"docker://{copied}"]
    manifest.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    digest = subprocess.run(
        [*images.skopeo, "manifest-digest", str(manifest)], capture_output=True, text=True, check=True
    ).stdout.strip()
    rule = Rule(keys=(images.team.public(),))
    assert Trust(policy=Policy(default=rule)).verify(parse_image_name(copied), digest) is not None

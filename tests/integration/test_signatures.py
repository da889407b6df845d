"""Signed caches in a real registry: what somebody planted is not used; skopeo agrees on signatures.

skopeo of Debian 12 is built without sigstore, so that of Debian 13 is unpacked for the time of the tests.
"""

from __future__ import annotations

import json
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from dibo import errors
from dibo.images.reference import ImageName, parse_image_name, parse_repository
from dibo.images.registry import api
from dibo.trust import attached, keys
from dibo.trust.keys import PrivateKey
from dibo.trust.policy import Policy, Rule, Trust
from tests.integration.test_cache import SH, STACK, build, good, tree, who, write
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.requirements import need, unmet
from tests.support.servers.registry import OCI_MANIFEST, Registry, registry

pytestmark = pytest.mark.integration
__all__ = ["who"]
PASSWORD: Final = {"DIBO_SIGN_PASSWORD": "secret"}


@pytest.fixture(scope="module")
def place(who: pwd.struct_passwd) -> Iterator[BuildEnv]:
    """The team's runner, with its pair of keys."""
    with build_env(who) as env:
        write(env)
        good(env.run("dibo", "key", "generate", env.cache / "team", environment=PASSWORD))
        yield env
        assert env.left() == []


@pytest.fixture
def other(who: pwd.struct_passwd, place: BuildEnv) -> Iterator[BuildEnv]:
    """Another runner, that has the public half alone."""
    with build_env(who) as env:
        write(env)
        shutil.copyfile(place.directory / "base.tar", env.directory / "base.tar")
        shutil.copyfile(place.cache / "team.pub", env.cache / "team.pub")
        yield env
        assert env.left() == []


@pytest.fixture(scope="module")
def hub(place: BuildEnv, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry"), delete=True) as started:
        yield started


def signing(place: BuildEnv) -> dict[str, str]:
    return {**PASSWORD, "DIBO_SIGN_KEY": str(place.cache / "team.key")}


def verifying(place: BuildEnv) -> dict[str, str]:
    return {"DIBO_VERIFY_KEYS": str(place.cache / "team.pub")}


def test_a_signed_cache_is_used(place: BuildEnv, other: BuildEnv, hub: Registry) -> None:
    cache = f"{hub.host}/signed"
    result = good(build(place, cache, **signing(place)))
    assert "warning" not in result.err
    result = good(build(other, cache, **verifying(other)))
    assert "warning" not in result.err
    assert not result.hooks_run, "no hook ran"
    result = good(other.run("dibo", "cache", "verify", cache, environment=verifying(other)))
    assert "5 layers, all whole and signed" in result.out


def test_a_planted_layer_is_named_and_built(place: BuildEnv, other: BuildEnv, hub: Registry) -> None:
    """A stranger replaces the layer `three`, with all that it takes but the team's key."""
    cache = f"{hub.host}/planted"
    good(build(place, cache, **signing(place)))
    layers = json.loads(good(place.run("dibo", "plan", "--json", "--no-base", "--cache", cache, *STACK)).out)[
        "layers"
    ]
    repository = parse_repository(cache)
    for layer in layers[3:]:
        name = repository.tagged(f"k-{layer['key']}")
        digest, manifest = api.manifest(name)
        manifest["layers"][0] = manifest["layers"][1] | {"annotations": {"evil": "yes"}}
        forged = hub.push("planted", f"k-{layer['key']}", manifest, OCI_MANIFEST)
        old = api.read_manifest(repository.tagged(attached.tag_of(digest)))
        api.push_manifest(repository.tagged(attached.tag_of(forged)), old, OCI_MANIFEST)
    arguments = ["--no-base", "--cache-from", cache, *STACK]
    for command in ("plan", "why"):
        result = good(other.run("dibo", command, *arguments, environment=verifying(other)))
        refusals = ("it is not used: the signature of", "not used either, for the same reason")
        assert sum(map(result.out.count, refusals)) == 2, result.out
    result = other.run("dibo", "cache", "verify", cache, environment=verifying(other))
    assert result.code == errors.VerificationFailed.exit_code
    result = good(other.run("dibo", "build", *arguments, environment=verifying(other)))
    assert "[3/4] three" in result.err
    assert "[2/4]" not in result.err
    assert "etc/three" in tree(other.tree(result.out.strip()))


def test_a_policy(place: BuildEnv, other: BuildEnv, hub: Registry) -> None:
    cache = f"{hub.host}/policed"
    good(build(place, cache, "one", **signing(place)))
    policy = other.cache / "policy.yaml"
    policy.write_text(f"repositories:\n  {cache}: {{keys: [team.pub]}}\n")
    result = good(build(other, cache, "one", DIBO_POLICY=str(policy)))
    assert not result.hooks_run
    policy.write_text(f"repositories:\n  {cache}/below: {{keys: [team.pub]}}\n")
    write_flavour(other.flavours, "one", {"install.d/10-one": SH + "echo other > /etc/one\n"})
    result = good(build(other, cache, "one", DIBO_POLICY=str(policy)))
    assert "the policy accepts nothing from" in result.err


def test_what_a_run_without_keys_took_is_not_used_with_keys(
    place: BuildEnv, other: BuildEnv, hub: Registry
) -> None:
    cache = f"{hub.host}/before"
    good(build(place, cache))
    good(build(other, cache))
    why = f"the engine's store has it, and it is not used: it came from {cache}, without a signature"
    for command in ("plan", "why"):
        result = good(other.run("dibo", command, "--no-base", *STACK, environment=verifying(other)))
        assert why in result.out, result.out
    result = good(other.run("dibo", "build", "--no-base", *STACK, environment=verifying(other)))
    assert "[1/4] one" in result.err
    assert f"layers of this stack do not count (1): {why}" in result.err
    result = good(other.run("dibo", "build", "--no-base", *STACK, environment=verifying(other)))
    assert not result.hooks_run, "what was built here counts"
    assert "warning" not in result.err


def test_what_was_taken_with_a_signature_counts_as_long_as_its_key_does(
    place: BuildEnv, other: BuildEnv, hub: Registry
) -> None:
    cache = f"{hub.host}/kept"
    good(build(place, cache, **signing(place)))
    arguments = ["--no-base", "--cache-from", cache, *STACK]
    good(other.run("dibo", "build", *arguments, environment=verifying(other)))
    plan = good(other.run("dibo", "plan", "--no-base", *STACK, environment=verifying(other)))
    assert "5 layers: 5 cached, 0 to build" in plan.out
    good(other.run("dibo", "key", "generate", other.cache / "new", environment=PASSWORD))
    changed = {"DIBO_VERIFY_KEYS": str(other.cache / "new.pub")}
    plan = good(other.run("dibo", "plan", "--no-base", *STACK, environment=changed))
    assert "5 layers: 0 cached, 5 to build" in plan.out
    assert f"it came from {cache}, signed by another key than those that count" in plan.out


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

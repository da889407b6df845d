"""Images and disks that are pushed with a signature to a real registry, and what `dibo convert` and `dibo key verify`
make of them and of what somebody put in their place: refused, with the reason, by keys and by a policy. The same of
images that are bases, by a policy."""

from __future__ import annotations

import json
import pwd
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from dibo import errors
from dibo.images.reference import ImageName, parse_image_name, parse_repository
from dibo.images.registry import api
from dibo.trust import attached
from tests.integration.test_cache import good, who, write
from tests.support.host.build_env import BuildEnv, CommandResult, build_env
from tests.support.servers.registry import OCI_INDEX, OCI_MANIFEST, Registry, registry

pytestmark = pytest.mark.integration
__all__ = ["who"]
PASSWORD: Final = {"DIBO_SIGN_PASSWORD": "secret"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """A user with a pair of keys, another pair, and a registry with the image `images/web:1`, signed, and a disk."""

    place: BuildEnv
    hub: Registry

    @property
    def web(self) -> ImageName:
        return parse_image_name(f"{self.hub.host}/images/web:1")

    def sign_key(self, name: str) -> list[str]:
        return ["--sign-key", str(self.place.cache / f"{name}.key")]

    def push(self, reference: str, *options: str) -> CommandResult:
        arguments = ["--no-base", "--push", reference, *options, "one"]
        return good(self.place.run("dibo", "build", *arguments, environment=PASSWORD))

    def verifying(self, how: str) -> list[str]:
        """Options that ask for the team's signature in the registry."""
        if how == "key":
            return ["--verify-key", str(self.place.cache / "team.pub")]
        policy = self.place.cache / "policy.yaml"
        policy.write_text(f"repositories:\n  {self.hub.host}: {{keys: [team.pub]}}\n")
        return ["--policy", str(policy)]

    def convert(self, reference: object, *options: str) -> CommandResult:
        output = self.place.cache / "converted"
        for path in output.parent.glob("converted*"):
            path.unlink()
        return self.place.run("dibo", "convert", "-t", "tar", "-o", output, *options, str(reference))

    def plan(self, base: str, *options: str) -> CommandResult:
        return self.place.run("dibo", "plan", "--base", base, *options, "one")

    @property
    def converted(self) -> bool:
        return any(self.place.cache.glob("converted*"))

    def copy_signatures(self, digest: str, source: str, *, to: str, as_of: str) -> None:
        """What a stranger with the right to write could: the signatures of one image beside another."""
        there, target = (
            parse_repository(f"{self.hub.host}/{source}"),
            parse_repository(f"{self.hub.host}/{to}"),
        )
        body = api.read_manifest(there.tagged(attached.tag_of(digest)))
        document = json.loads(body)
        for blob in (document["config"], *document["layers"]):
            self.hub.push_blob(to, api.read_small(there, blob["digest"], limit=1 << 20))
        api.push_manifest(target.tagged(attached.tag_of(as_of)), body, OCI_MANIFEST)

    def manifest(self, name: ImageName) -> tuple[str, dict[str, Any]]:
        digest, manifest = api.manifest(name)
        return digest, dict(manifest)


@pytest.fixture(scope="module")
def team(who: pwd.struct_passwd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with build_env(who) as place, registry(tmp_path_factory.mktemp("registry"), delete=True) as hub:
        write(place)
        for name in ("team", "stranger"):
            good(place.run("dibo", "key", "generate", place.cache / name, environment=PASSWORD))
        made = Team(place=place, hub=hub)
        made.push(str(made.web), *made.sign_key("team"))
        yield made
        assert place.left() == []


def unsigned(team: Team) -> str:
    name = f"{team.hub.host}/images/unsigned:1"
    team.push(name)
    return name


def signed_by_another(team: Team) -> str:
    name = f"{team.hub.host}/images/stranger:1"
    team.push(name, *team.sign_key("stranger"))
    return name


def another_manifest(team: Team) -> str:
    """The tag is moved to a forged manifest, with the signatures of the good one."""
    digest, manifest = team.manifest(team.web)
    body = json.dumps(manifest | {"annotations": {"evil": "yes"}})
    forged = team.hub.push("images/web", "forged", json.loads(body), OCI_MANIFEST)
    team.copy_signatures(digest, "images/web", to="images/web", as_of=forged)
    return f"{team.hub.host}/images/web:forged"


def another_tag(team: Team) -> str:
    """The good image, by a tag that it was not signed for."""
    body = api.read_manifest(team.web)
    api.push_manifest(parse_image_name(f"{team.hub.host}/images/web:latest"), body, OCI_MANIFEST)
    return f"{team.hub.host}/images/web:latest"


def another_repository(team: Team) -> str:
    """The good image and its signatures, moved to another repository."""
    name = f"{team.hub.host}/images/moved:1"
    team.push(name)
    digest, manifest = team.manifest(team.web)
    here = parse_repository(f"{team.hub.host}/images/web")
    for blob in (manifest["config"], *manifest["layers"]):
        team.hub.push_blob("images/moved", api.read_small(here, blob["digest"], limit=1 << 24))
    api.push_manifest(parse_image_name(name), api.read_manifest(team.web), OCI_MANIFEST)
    team.copy_signatures(digest, "images/web", to="images/moved", as_of=digest)
    return name


def malformed(team: Team) -> str:
    """Unsigned, with a config that is none: nothing of it is read before the signature."""
    layer = team.hub.push_blob("images/malformed", bytes(10240)) | {
        "mediaType": "application/vnd.oci.image.layer.v1.tar"
    }
    config = team.hub.push_blob("images/malformed", b'{"rootfs": 7') | {
        "mediaType": "application/vnd.oci.image.config.v1+json"
    }
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]}
    team.hub.push("images/malformed", "1", manifest, OCI_MANIFEST)
    return f"{team.hub.host}/images/malformed:1"


REFUSED: Final[list[tuple[Callable[[Team], str], str]]] = [
    (unsigned, "is not signed"),
    (signed_by_another, "it is signed by no key of team.pub"),
    (another_manifest, "the signature is for the manifest sha256:"),
    (another_tag, "the signature is for the tag 1, expected latest"),
    (another_repository, "images/web, expected"),
    (malformed, "is not signed"),
]


@pytest.mark.parametrize("how", ["key", "policy"])
def test_what_the_team_signed_is_converted(team: Team, how: str) -> None:
    good(team.convert(team.web, *team.verifying(how)))
    assert team.converted


@pytest.mark.parametrize("how", ["key", "policy"])
@pytest.mark.parametrize(("plant", "why"), REFUSED, ids=[plant.__name__ for plant, _ in REFUSED])
def test_what_stands_in_its_place_is_refused(
    team: Team, plant: Callable[[Team], str], why: str, how: str
) -> None:
    name = plant(team)
    done = team.convert(name, *team.verifying(how))
    assert done.code == errors.SignatureError.exit_code, done.err
    assert why in done.error, done.err
    assert "--verify-key" in done.err
    assert not team.converted
    done = team.place.run("dibo", "key", "verify", *team.verifying(how), name)
    assert done.code == errors.SignatureError.exit_code, done.err
    assert why in done.error, done.err


@pytest.mark.parametrize("how", ["key", "policy"])
def test_a_disk_is_signed_as_well(team: Team, how: str) -> None:
    good(
        team.place.run("dibo", "convert", "--bare", "-t", "raw", "-o", team.place.cache / how, str(team.web))
    )
    disk = team.place.cache / f"{how}.raw"
    name = f"{team.hub.host}/disks/web:{how}"
    arguments = [str(disk), name]
    good(team.place.run("dibo", "push", *team.sign_key("team"), *arguments, environment=PASSWORD))
    good(team.place.run("dibo", "key", "verify", *team.verifying(how), name))
    good(
        team.place.run(
            "dibo", "push", *team.sign_key("stranger"), str(disk), f"{name}-2", environment=PASSWORD
        )
    )
    with disk.open("r+b") as file:
        file.write(b"changed")
    good(team.place.run("dibo", "push", *arguments))
    for reference, why in ((name, "is not signed"), (f"{name}-2", "does not count")):
        done = team.place.run("dibo", "key", "verify", *team.verifying(how), reference)
        assert done.code == errors.SignatureError.exit_code, done.err
        assert why in done.error


def test_a_policy_that_accepts_nothing_from_there(team: Team) -> None:
    policy = team.place.cache / "closed.yaml"
    policy.write_text("repositories:\n  elsewhere.example: {keys: [team.pub]}\n")
    done = team.convert(team.web, "--policy", str(policy))
    assert done.code == errors.SignatureError.exit_code, done.err
    assert "the policy accepts nothing from" in done.error
    assert not team.converted


def test_an_image_that_is_in_no_registry_is_refused_before_it_is_opened(team: Team, tmp_path: Path) -> None:
    done = team.convert(f"oci:{tmp_path}/nowhere", *team.verifying("key"))
    assert done.code == errors.SignatureError.exit_code, done.err
    assert "signatures are kept in registries" in done.error


@pytest.mark.parametrize(("plant", "why"), REFUSED, ids=[plant.__name__ for plant, _ in REFUSED])
@pytest.mark.parametrize("named", ["tag", "digest"])
def test_a_base_is_held_to_the_policy_before_its_config_is_read(
    team: Team, plant: Callable[[Team], str], why: str, named: str
) -> None:
    name = plant(team)
    if named == "digest":
        name = f"{name}@{team.manifest(parse_image_name(name))[0]}"
    done = team.plan(name, *team.verifying("policy"))
    assert done.code == errors.SignatureError.exit_code, done.err
    assert why in done.error, done.err


def test_a_base_that_the_policy_lets_be_used(team: Team) -> None:
    digest, _ = team.manifest(team.web)
    for name in (str(team.web), f"{team.web}@{digest}"):
        good(team.plan(name, *team.verifying("policy")))


def test_a_signed_base_in_an_index_that_is_not(team: Team) -> None:
    body = api.read_manifest(team.web)
    digest, _ = team.manifest(team.web)
    platform = {"os": "linux", "architecture": "amd64"}
    entry = {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(body), "platform": platform}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    web = parse_image_name(f"{team.hub.host}/images/web:1")
    try:
        team.hub.push("images/web", "1", index, OCI_INDEX)
        good(team.plan(str(web), *team.verifying("policy")))
    finally:
        api.push_manifest(web, body, OCI_MANIFEST)

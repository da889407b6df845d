"""Whose signatures count where, on a registry in memory; and policies that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from dibo.errors import SignatureError, UsageError
from dibo.images.reference import ImageName, parse_image_name, parse_repository
from dibo.trust import attached, keys
from dibo.trust.keys import PrivateKey
from dibo.trust.policy import POLICY_SCHEMA, Policy, Rule, Trust, read_policy
from tests.support.schemas import validate
from tests.support.servers.fake_registry import FakeRegistry, RegistryState

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("pauses")]

MANIFEST = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []}


@pytest.fixture
def name(server: FakeRegistry) -> ImageName:
    return parse_image_name(f"{server.host}/team/web:1")


@pytest.fixture
def digest(state: RegistryState, name: ImageName) -> str:
    return state.put_manifest(name.repository, "1", MANIFEST)


TEAM, STRANGER = keys.generate(), keys.generate()


def signer(key: PrivateKey = TEAM) -> Trust:
    return Trust(sign_key=key)


def reader(*private: PrivateKey) -> Trust:
    rule = Rule(keys=tuple(each.public() for each in private or (TEAM,)))
    return Trust(policy=Policy(default=rule))


def test_a_signature_is_stored_as_cosign_does(state: RegistryState, name: ImageName, digest: str) -> None:
    signer().sign(name, digest)
    kind, body = state.manifests[name.repository, f"sha256-{digest[7:]}.sig"]
    manifest = json.loads(body)
    (layer,) = manifest["layers"]
    assert kind == "application/vnd.oci.image.manifest.v1+json"
    assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    payload = json.loads(state.blobs[name.repository, layer["digest"]])
    assert payload["critical"]["image"]["docker-manifest-digest"] == digest
    assert layer["annotations"]["dev.cosignproject.cosign/signature"]
    assert attached.digest_in(f"sha256-{digest[7:]}.sig") == digest


def test_what_is_signed_counts(name: ImageName, digest: str) -> None:
    signer().sign(name, digest)
    assert reader().verify(name, digest) is not None
    assert reader(STRANGER, TEAM).verify(name, digest) is not None
    assert Trust().verify(name, digest) is None


def test_signatures_stand_side_by_side_and_once(state: RegistryState, name: ImageName, digest: str) -> None:
    for key in (STRANGER, TEAM, TEAM):
        signer(key).sign(name, digest)
    assert len(attached.signatures(name, digest)) == 2
    assert reader(TEAM).verify(name, digest) is not None
    assert reader(STRANGER).verify(name, digest) is not None


def test_what_is_not_signed(name: ImageName, digest: str) -> None:
    with pytest.raises(SignatureError, match="is not signed"):
        reader().verify(name, digest)


def test_what_somebody_else_signed(name: ImageName, digest: str) -> None:
    signer(STRANGER).sign(name, digest)
    with pytest.raises(SignatureError, match="signed by no key of"):
        reader().verify(name, digest)


def test_a_signature_that_was_moved(state: RegistryState, name: ImageName, digest: str) -> None:
    """To another image, another tag, another repository."""
    signer().sign(name, digest)
    signature = state.manifests[name.repository, attached.tag_of(digest)]
    other = state.put_manifest(name.repository, "2", {**MANIFEST, "annotations": {"a": "b"}})
    state.manifests[name.repository, attached.tag_of(other)] = signature
    with pytest.raises(SignatureError, match="for the manifest"):
        reader().verify(name.tagged("2"), other)
    with pytest.raises(SignatureError, match="for the tag 1, expected 2"):
        reader().verify(name.tagged("2"), digest)
    elsewhere = ImageName(host=name.host, repository="other/web", tag="1")
    state.manifests["other/web", attached.tag_of(digest)] = signature
    for (repository, blob), content in list(state.blobs.items()):
        if repository == name.repository:
            state.blobs["other/web", blob] = content
    with pytest.raises(SignatureError, match="team/web, expected"):
        reader().verify(elsewhere, digest)
    mirrored = Rule(keys=(TEAM.public(),), signed_as=ImageName(host=name.host, repository=name.repository))
    trust = Trust(policy=Policy(rules=((parse_repository(f"{name.host}/other"), mirrored),), default=Rule()))
    assert trust.verify(elsewhere, digest) is not None


@pytest.mark.parametrize("damage", ["payload", "signature", "layers", "gone"])
def test_a_damaged_signature(state: RegistryState, name: ImageName, digest: str, damage: str) -> None:
    signer().sign(name, digest)
    tag = attached.tag_of(digest)
    manifest = json.loads(state.manifests[name.repository, tag][1])
    layer = manifest["layers"][0]
    if damage == "payload":
        content = state.blobs[name.repository, layer["digest"]].replace(b"team/web", b"team/wab")
        layer["digest"] = state.put(name.repository, content)
    elif damage == "signature":
        layer["annotations"] = {attached.SIGNATURE: "not base64"}
    elif damage == "layers":
        manifest["layers"] = "x"
    else:
        del state.blobs[name.repository, layer["digest"]]
    state.put_manifest(name.repository, tag, manifest)
    with pytest.raises(SignatureError):
        reader().verify(name, digest)


# Policies


@pytest.fixture
def team(tmp_path: Path) -> Path:
    return keys.write_pair(TEAM, tmp_path / "team", password=b"")[1]


def policy_of(tmp_path: Path, text: str) -> Policy:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    return read_policy(path)


def test_the_longest_name_counts(tmp_path: Path, team: Path) -> None:
    policy = policy_of(
        tmp_path,
        """
        repositories:
          r.example: {accept: unsigned}
          r.example/a: {keys: [team.pub]}
          r.example/a/b: {accept: nothing}
          docker.io/library: {accept: unsigned}
        """,
    )

    def rule(text: str) -> Rule:
        return policy.rule(parse_repository(text))

    assert rule("r.example/x").open
    assert rule("r.example/ab").open
    assert [key.name for key in rule("r.example/a").keys] == ["team.pub"]
    assert rule("r.example/a/c").keys
    assert not rule("r.example/a/b/c").open
    assert not rule("r.example/a/b/c").keys
    assert rule("docker.io/debian").open
    assert not rule("elsewhere.example/x").open, "what has no rule is refused"


def test_a_repository_of_which_nothing_is_accepted(tmp_path: Path, name: ImageName, digest: str) -> None:
    trust = Trust(policy=policy_of(tmp_path, "repositories: {}\n"))
    with pytest.raises(SignatureError, match="accepts nothing from"):
        trust.verify(name, digest)
    with pytest.raises(SignatureError, match="accepts nothing from"):
        trust.require_chance(name)
    signer().require_chance(name)
    reader().require_chance(name)


WRONG = [
    ("[]", "expected a mapping"),
    ("default: {accept: unsigned}", "repositories is missing"),
    ("{repositories: {}, defalt: {accept: nothing}}", "did you mean default"),
    ("repositories: {r.example/a: {}}", "repositories.r.example/a: expected either keys or accept"),
    ("repositories: {r.example/a: {accept: unsigned, keys: [team.pub]}}", "either keys or accept"),
    ("repositories: {r.example/a: {accept: everything}}", "expected unsigned or nothing"),
    ("repositories: {r.example/a: {keys: []}}", "expected a list of files"),
    ("repositories: {r.example/a: {keys: [1]}}", "expected a list of files"),
    ("repositories: {r.example/a: {keys: [gone.pub]}}", "gone.pub"),
    ("repositories: {r.example/a: {accept: nothing, signed-as: r.example/b}}", "it goes with keys"),
    ("repositories: {r.example/a: {keys: [team.pub], signed-as: x}}", "signed-as"),
    ("repositories: {'r.example/a:1': {accept: nothing}}", "a:1"),
    ("repositories: {r.example/a: {accept: nothing}, r.example/a: {accept: unsigned}}", "twice"),
    ("repositories: {", "is not YAML"),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_a_wrong_policy_names_what_is_wrong(tmp_path: Path, team: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        policy_of(tmp_path, text)
    assert said in f"{caught.value.message}\n{caught.value.hint}"


GOOD = """
repositories:
  r.example/a: {keys: [team.pub]}
  r.example/b: {keys: [team.pub], signed-as: r.example/a}
default: {accept: unsigned}
"""


def test_the_schema_says_the_same(tmp_path: Path, team: Path) -> None:
    validate(yaml.safe_load(GOOD), POLICY_SCHEMA)
    policy_of(tmp_path, GOOD)
    for text, _ in WRONG:
        if any(
            word in text for word in ("gone.pub", "twice", "a:1", "{ ", "r.example/a: {accept: nothing}, r")
        ):
            continue
        if text == "repositories: {" or "signed-as: x" in text:
            continue
        with pytest.raises(jsonschema.ValidationError):
            validate(yaml.safe_load(text), POLICY_SCHEMA)

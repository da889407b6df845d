"""Lists of referrers on registries that have the API, and on those that have none; and lists that are not right."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dibo.errors import ImageError, RegistryError, VerificationFailed
from dibo.images.manifest import OCI_INDEX, OCI_MANIFEST
from dibo.images.reference import ImageName, parse_repository
from dibo.images.registry import api, referrers
from tests.support.servers.fake_registry import FakeRegistry, RegistryState

pytestmark = pytest.mark.usefixtures("pauses")

REPO = "team/app"
NOTE = "application/vnd.example.note"


@pytest.fixture
def repository(server: FakeRegistry) -> ImageName:
    return parse_repository(f"{server.host}/{REPO}")


@pytest.fixture
def subject(state: RegistryState) -> str:
    return state.put_manifest(REPO, "1", image())


def image(**more: Any) -> dict[str, Any]:
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": f"sha256:{'0' * 64}", "size": 2}
    return {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [], **more}


def note(subject: str, text: str, kind: str = NOTE) -> bytes:
    named = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1}
    return json.dumps(image(artifactType=kind, subject=named, annotations={"text": text})).encode()


@pytest.mark.parametrize("with_api", [True, False])
def test_what_is_pushed_is_listed(
    state: RegistryState, repository: ImageName, subject: str, with_api: bool
) -> None:
    state.referrers = with_api
    assert referrers.list_referrers(repository, subject) == ()
    pushed = {referrers.push_referrer(repository, note(subject, text)) for text in ("a", "b", "a", "c")}
    listed = referrers.list_referrers(repository, subject)
    assert {referrer.digest for referrer in listed} == pushed and len(listed) == 3
    assert {referrer.annotations["text"] for referrer in listed} == {"a", "b", "c"}
    assert {referrer.artifact_type for referrer in listed} == {NOTE}
    tag = (REPO, f"sha256-{subject[7:]}")
    assert (tag in state.manifests) is not with_api
    if not with_api:
        kind, body = state.manifests[tag]
        assert kind == OCI_INDEX and len(json.loads(body)["manifests"]) == 3
    for referrer in listed:
        _, document = referrers.read_referrer(repository, referrer, subject)
        assert document["annotations"] == referrer.annotations


def test_a_registry_that_sees_subjects_and_has_no_list(
    state: RegistryState, repository: ImageName, subject: str
) -> None:
    """As Amazon's: the header OCI-Subject, and 404 for the list."""
    state.referrers = True
    state.always("/referrers/", 404)
    digest = referrers.push_referrer(repository, note(subject, "a"))
    assert [referrer.digest for referrer in referrers.list_referrers(repository, subject)] == [digest]


@pytest.mark.parametrize("status", [404, 405])
def test_no_list(state: RegistryState, repository: ImageName, subject: str, status: int) -> None:
    state.always("/referrers/", status)
    assert api.referrers(repository, subject) is None


def test_a_referrer_that_takes_the_place_of_another(
    state: RegistryState, repository: ImageName, subject: str
) -> None:
    first = referrers.push_referrer(repository, note(subject, "a"))
    other = referrers.push_referrer(repository, note(subject, "b"))
    second = referrers.push_referrer(repository, note(subject, "c"), replaces=first)
    listed = {referrer.digest for referrer in referrers.list_referrers(repository, subject)}
    assert listed == {other, second}


def test_an_entry_that_another_client_overwrites_is_added_again(
    state: RegistryState, repository: ImageName, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other client read the index before ours was in it."""
    put = api.push_manifest
    lost: list[object] = []

    def push_and_lose(name: ImageName, body: bytes, media_type: str) -> str:
        digest = put(name, body, media_type)
        if not lost:
            lost.append(state.manifests.pop((REPO, str(name.tag))))
        return digest

    monkeypatch.setattr(api, "push_manifest", push_and_lose)
    digest = referrers.push_referrer(repository, note(subject, "a"))
    assert [referrer.digest for referrer in referrers.list_referrers(repository, subject)] == [digest]


def listed_of(state: RegistryState, subject: str, entry: object) -> None:
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    state.put_manifest(REPO, f"sha256-{subject[7:]}", index)


@pytest.mark.parametrize(
    "entry",
    [
        {"mediaType": OCI_MANIFEST, "digest": "sha256:../../etc", "size": 1},
        {"mediaType": OCI_MANIFEST, "digest": f"sha256:{'1' * 64}", "size": -1},
        {"digest": f"sha256:{'1' * 64}", "size": 1},
    ],
)
def test_an_entry_that_is_no_descriptor(
    state: RegistryState, repository: ImageName, subject: str, entry: object
) -> None:
    listed_of(state, subject, entry)
    with pytest.raises(ImageError):
        referrers.list_referrers(repository, subject)


def test_a_referrer_of_something_else(state: RegistryState, repository: ImageName, subject: str) -> None:
    stranger = note(f"sha256:{'2' * 64}", "a")
    digest = state.put_manifest_bytes(REPO, "", stranger)
    listed_of(state, subject, {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(stranger)})
    (referrer,) = referrers.list_referrers(repository, subject)
    with pytest.raises(RegistryError, match="names another subject"):
        referrers.read_referrer(repository, referrer, subject)


def test_a_referrer_with_other_bytes(state: RegistryState, repository: ImageName, subject: str) -> None:
    digest = referrers.push_referrer(repository, note(subject, "a"))
    state.manifests[REPO, digest] = (OCI_MANIFEST, note(subject, "b"))
    (referrer,) = referrers.list_referrers(repository, subject)
    with pytest.raises(VerificationFailed):
        referrers.read_referrer(repository, referrer, subject)


def test_a_tag_that_is_no_index(state: RegistryState, repository: ImageName, subject: str) -> None:
    state.put_manifest(REPO, f"sha256-{subject[7:]}", image())
    with pytest.raises(ImageError, match="that tag is for the list of referrers"):
        referrers.list_referrers(repository, subject)


def test_a_list_without_end(
    state: RegistryState, repository: ImageName, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "MOST_REFERRERS", 3)
    state.referrers = True
    for number in range(5):
        state.put_manifest_bytes(REPO, "", note(subject, str(number)))
    with pytest.raises(RegistryError, match="without end"):
        referrers.list_referrers(repository, subject)


def test_tags_of_digests() -> None:
    assert referrers.tag_of(f"sha256:{'a' * 64}") == f"sha256-{'a' * 64}"
    assert referrers.tag_of(f"sha512:{'a' * 128}") == f"sha512-{'a' * 64}"

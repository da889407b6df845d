"""Chosen packages in a registry: who finds them, and what of them counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dibo.api.cache import Pruning, prune
from dibo.cache import maintenance, resolutions
from dibo.cache.entry import CREATED
from dibo.cache.lookup import CacheRepository
from dibo.cache.resolutions import RegistryResolutions, tag_of
from dibo.images.reference import ImageName, parse_repository
from dibo.plan.packages import ChosenPackages
from dibo.settings.settings import Options
from dibo.system.report import Report
from dibo.trust.keys import generate
from dibo.trust.policy import Policy, Rule, Trust
from tests.support.servers.fake_registry import FakeRegistry

pytestmark = pytest.mark.usefixtures("pauses")

NAME = "ab" * 32
ANSWER = ChosenPackages(name=NAME, wish="cd" * 32, words=("nginx",), text='{"packages":[],"removed":[]}')


def store_of(name: ImageName, *, writes: bool = True, trust: Trust | None = None) -> RegistryResolutions:
    remote = CacheRepository(
        name=name, architecture="amd64", report=Report(quiet=True), writes=writes, trust=trust or Trust()
    )
    return RegistryResolutions(remotes=[remote])


def test_another_machine_finds_what_one_chose(name: ImageName) -> None:
    assert store_of(name).load(NAME) is None
    store_of(name).save([ANSWER])
    assert store_of(name).load(NAME) == ANSWER.text
    assert store_of(name).load("00" * 32) is None


def test_what_is_expected_is_asked_once(server: FakeRegistry, name: ImageName) -> None:
    names = [f"{number:064x}" for number in range(20)]
    answers = [
        ChosenPackages(name=entry, wish=ANSWER.wish, words=ANSWER.words, text=entry) for entry in names
    ]
    store_of(name).save(answers[:10])
    server.state.asked.clear()
    store = store_of(name)
    store.expect(names)
    assert len(server.state.requests("/manifests/")) == 20
    assert [store.load(entry) for entry in names] == [*names[:10], *[None] * 10]
    assert len(server.state.requests("/manifests/")) == 20
    store.save(answers[:10])
    assert len(server.state.requests("/manifests/")) == 20, "those that were read are there"


def test_where_the_first_is_missing_no_other_is_asked_for(server: FakeRegistry, name: ImageName) -> None:
    store_of(name).save([ANSWER])
    server.state.asked.clear()
    store_of(name).expect(["00" * 32, NAME])
    assert len(server.state.requests()) == 1


def test_who_only_reads_writes_nothing(name: ImageName) -> None:
    store_of(name, writes=False).save([ANSWER])
    assert store_of(name).load(NAME) is None


def test_signed_where_entries_are(name: ImageName) -> None:
    key = generate()
    trust = Trust(policy=Policy(default=Rule(keys=(key.public(),))), sign_key=key)
    store_of(name).save([ANSWER])
    assert store_of(name, trust=trust).load(NAME) is None
    other = ChosenPackages(name="ef" * 32, wish=ANSWER.wish, words=ANSWER.words, text=ANSWER.text)
    store_of(name, trust=trust).save([other])
    assert store_of(name, trust=trust).load(other.name) == other.text


def test_one_under_another_name_is_not_used_where_they_are_signed(
    server: FakeRegistry, name: ImageName
) -> None:
    key = generate()
    trust = Trust(policy=Policy(default=Rule(keys=(key.public(),))), sign_key=key)
    store_of(name, trust=trust).save([ANSWER])
    server.state.manifests["cache", tag_of("00" * 32)] = server.state.manifests["cache", tag_of(NAME)]
    assert store_of(name, trust=trust).load("00" * 32) is None
    assert store_of(name, trust=trust).load(NAME) == ANSWER.text


def test_a_damaged_one_leaves_the_question_to_apt(server: FakeRegistry, name: ImageName) -> None:
    store_of(name).save([ANSWER])
    for place, body in list(server.state.blobs.items()):
        server.state.blobs[place] = body + b"x"
    assert store_of(name).load(NAME) is None


def test_they_are_of_dibo_and_go_with_age(server: FakeRegistry, name: ImageName) -> None:
    store_of(name).save([ANSWER])
    now = datetime.now(tz=UTC)
    assert maintenance.contents(name, now=now).others == ()
    resolutions.remove_old(name, before=now - timedelta(days=1))
    assert store_of(name).load(NAME) == ANSWER.text
    resolutions.remove_old(name, before=now + timedelta(days=1))
    assert store_of(name).load(NAME) is None


def test_they_go_with_age_where_no_layer_does(server: FakeRegistry, name: ImageName) -> None:
    old = {"annotations": {CREATED: "2020-01-01T00:00:00Z"}}
    server.state.put_manifest("cache", tag_of(NAME), old)
    wish = Pruning(repository=str(name), older_than=1, keep_stacks=(), yes=True)
    (answer,) = prune(Options(), {}, Report(quiet=True), wish)
    assert answer.text == "nothing to remove"
    assert server.state.manifests == {}


def test_a_registry_that_is_down_is_no_condition(name: ImageName) -> None:
    down = parse_repository("127.0.0.1:9/cache")
    store_of(down).save([ANSWER])
    assert store_of(down).load(NAME) is None

"""Notes on where layers came from, and which layers count where signatures are asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dibo.build import ingredients_store
from dibo.build.layer_origins import LayerOrigins, Taken
from dibo.errors import EngineError
from dibo.images.reference import parse_repository
from dibo.trust import keys
from dibo.trust.policy import Policy, Rule

CACHE = "registry.example/team/cache"
TEAM, STRANGER = keys.generate().public(), keys.generate().public()
STRICT = Policy(default=Rule(keys=(TEAM,)))


@dataclass(slots=True)
class FakeEngine:
    """What the engine's store has: identities of images, by key."""

    images: dict[str, str] = field(default_factory=dict)

    def identities(self, keys: Collection[str]) -> Mapping[str, str]:
        return {key: self.images[key] for key in keys if key in self.images}


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine({key: f"id-{key}" for key in ("base", "one", "two")})


def taken(engine: FakeEngine, directory: Path, key: str, *, signed_by: str = "", where: str = CACHE) -> None:
    LayerOrigins(directory).save_taken(engine, key, Taken(repository=where, signed_by=signed_by))


def built(engine: FakeEngine, directory: Path, key: str, *, parent: str | None) -> None:
    LayerOrigins(directory).save_built(engine, key, parent=parent)


def reasons(engine: FakeEngine, directory: Path, *, policy: Policy = STRICT) -> dict[str, str]:
    found = LayerOrigins(directory, policy).distrusted(engine, list(engine.images))
    prefix = "the engine's store has it, and it is not used: "
    assert all(reason.startswith(prefix) for reason in found.values())
    return {key: reason.removeprefix(prefix) for key, reason in found.items()}


def test_what_was_built_here_counts(engine: FakeEngine, tmp_path: Path) -> None:
    for key, parent in (("base", None), ("one", "base"), ("two", "one")):
        built(engine, tmp_path, key, parent=parent)
    assert reasons(engine, tmp_path) == {}


def test_what_came_unsigned_does_not_count_nor_what_stands_on_it(engine: FakeEngine, tmp_path: Path) -> None:
    built(engine, tmp_path, "base", parent=None)
    taken(engine, tmp_path, "one")
    built(engine, tmp_path, "two", parent="one")
    why = f"it came from {CACHE}, without a signature"
    assert reasons(engine, tmp_path) == {"one": why, "two": why}


def test_without_keys_all_count(engine: FakeEngine, tmp_path: Path) -> None:
    taken(engine, tmp_path, "one")
    for policy in (None, Policy()):
        assert LayerOrigins(tmp_path, policy).distrusted(engine, ["base", "one"]) == {}


def test_the_key_that_signed_must_still_count(engine: FakeEngine, tmp_path: Path) -> None:
    del engine.images["base"]
    taken(engine, tmp_path, "one", signed_by=TEAM.fingerprint())
    taken(engine, tmp_path, "two", signed_by=STRANGER.fingerprint())
    why = {"two": f"it came from {CACHE}, signed by another key than those that count"}
    assert reasons(engine, tmp_path) == why
    both = Policy(default=Rule(keys=(STRANGER, TEAM)))
    assert reasons(engine, tmp_path, policy=both) == {}


def test_a_policy_says_it_for_each_cache(engine: FakeEngine, tmp_path: Path) -> None:
    taken(engine, tmp_path, "base", where="mirror.example/cache")
    taken(engine, tmp_path, "one", where="other.example/cache")
    taken(engine, tmp_path, "two", signed_by=TEAM.fingerprint())
    policy = Policy(
        rules=(
            (parse_repository("mirror.example/cache"), Rule(accept="unsigned")),
            (parse_repository(CACHE), Rule(keys=(TEAM,))),
        ),
        default=Rule(),
    )
    assert list(reasons(engine, tmp_path, policy=policy)) == ["one"]


def test_without_a_note_a_layer_does_not_count(engine: FakeEngine, tmp_path: Path) -> None:
    built(engine, tmp_path, "two", parent="one")  # on what nobody knows anything of
    why = "nothing says whether it was built here"
    assert reasons(engine, tmp_path) == dict.fromkeys(["base", "one", "two"], why)


def test_a_note_is_about_one_image(engine: FakeEngine, tmp_path: Path) -> None:
    """The layer was built here, removed, and taken by a run with another cache directory."""
    built(engine, tmp_path, "base", parent=None)
    built(engine, tmp_path, "one", parent="base")
    engine.images["base"] = "another"
    built(engine, tmp_path, "two", parent="base")
    assert list(reasons(engine, tmp_path)) == ["base", "two"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"identity": "id-one"}', '{"identity": 1, "taken": 2}'])
def test_a_damaged_note_is_none(engine: FakeEngine, tmp_path: Path, text: str) -> None:
    (tmp_path / "one.origin").write_text(text)
    assert "one" in reasons(engine, tmp_path)


def test_a_removed_layer_takes_its_note_along(engine: FakeEngine, tmp_path: Path) -> None:
    built(engine, tmp_path, "base", parent=None)
    assert [path.name for path in tmp_path.iterdir()] == ["base.origin"]
    ingredients_store.forget(tmp_path, "base")
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_cannot_say_costs_the_note_alone(tmp_path: Path) -> None:
    class Broken(FakeEngine):
        def identities(self, keys: Collection[str]) -> Mapping[str, str]:
            raise EngineError("no store")

    built(Broken(), tmp_path, "base", parent=None)
    assert list(tmp_path.iterdir()) == []

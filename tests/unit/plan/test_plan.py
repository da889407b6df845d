"""A plan: where a build resumes, and how little is asked to find out."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.plan.keys import KeyInputs
from dibo.plan.plan import Plan, describe, make_plan
from tests.support.flavours import read_recipe, write_flavour


class Cache:
    """Holds some keys, and remembers what it was asked."""

    def __init__(self, held: set[str]) -> None:
        self.held = held
        self.asked: list[str] = []

    def __call__(self, key: str) -> bool:
        self.asked.append(key)
        return key in self.held


@pytest.fixture
def flavours(tmp_path: Path) -> Path:
    write_flavour(tmp_path, "a", ["install.d/10-a", "install.d/30-a"])
    write_flavour(tmp_path, "b", ["install.d/20-b"], yaml="local: true\n")
    return tmp_path


def plan_of(flavours: Path, cache: Cache) -> Plan:
    return make_plan(
        read_recipe(flavours, "a", "b"),
        base_name="base.tar",
        base_ingredients=(("sha256", "0" * 64),),
        inputs=KeyInputs(runner="1" * 64, epoch="2026-11"),
        held=cache,
    )


def test_nothing_is_held(flavours: Path) -> None:
    cache = Cache(set())
    plan = plan_of(flavours, cache)
    keys = [planned.key for planned in plan.steps]
    assert cache.asked == [*reversed(keys), plan.base_key]
    assert (plan.resume, plan.base_held, plan.start) == (0, False, plan.base_key)
    assert plan.to_run == plan.steps
    assert plan.image_key == keys[-1]


@pytest.mark.parametrize("deepest", [1, 2, 3, 4])
def test_the_deepest_layer_counts_and_nothing_below_it_is_looked_at(flavours: Path, deepest: int) -> None:
    keys = [planned.key for planned in plan_of(flavours, Cache(set())).steps]
    cache = Cache({keys[deepest - 1], keys[0]})
    plan = plan_of(flavours, cache)
    assert plan.resume == deepest
    assert plan.start == keys[deepest - 1]
    assert [planned.key for planned in plan.to_run] == keys[deepest:]
    assert cache.asked == list(reversed(keys[deepest - 1 :]))
    assert plan.base_held


def test_only_the_base_is_held(flavours: Path) -> None:
    base = plan_of(flavours, Cache(set())).base_key
    plan = plan_of(flavours, Cache({base}))
    assert (plan.resume, plan.base_held) == (0, True)


def test_as_text(flavours: Path) -> None:
    keys = [planned.key for planned in plan_of(flavours, Cache(set())).steps]
    lines = describe(plan_of(flavours, Cache({keys[0]}))).splitlines()
    assert lines[0].split() == ["stack", "a", "b"]
    assert [line.split()[1] for line in lines[4:9]] == ["cached", "cached", "build", "build", "build"]
    assert [line.endswith("(local)") for line in lines[4:9]] == [False, False, True, True, True]
    assert lines[-1] == "5 layers: 2 cached, 3 to build"


def test_as_text_says_where_layers_are_and_why_some_are_not_used(flavours: Path) -> None:
    keys = [planned.key for planned in plan_of(flavours, Cache(set())).steps]
    plan = plan_of(flavours, Cache({keys[0]}))
    reason = "registry.example/cache has it, and it is not used: registry.example/cache is not signed"
    lines = describe(
        plan,
        {keys[0]: "here, not in registry.example/cache", keys[1]: "elsewhere"},
        {keys[0]: "unseen", keys[1]: reason},
    ).splitlines()
    assert lines[5].endswith("  (here, not in registry.example/cache)")
    assert lines[6].startswith(f"{keys[1][:12]}  build ")
    assert lines[7] == " " * 22 + reason
    assert "unseen" not in "\n".join(lines)
    assert "elsewhere" not in "\n".join(lines)
    assert lines[-1] == "5 layers: 2 cached, 3 to build"


def test_one_cause_is_said_once(flavours: Path) -> None:
    plan = plan_of(flavours, Cache(set()))
    reason = "registry.example/cache has it, and it is not used: registry.example/cache is not signed"
    text = describe(plan, {}, dict.fromkeys(plan.keys, reason))
    assert text.count(reason) == 1
    assert text.count(" not used either, for the same reason\n") == len(plan.keys) - 1


def test_a_plan_that_ends_early(flavours: Path) -> None:
    whole = plan_of(flavours, Cache(set()))
    held = plan_of(flavours, Cache({whole.keys[3]}))
    for plan in (whole, held):
        for number, key in enumerate(plan.keys):
            part = plan.until(key)
            assert part.keys == plan.keys[: number + 1]
            assert part.image_key == key
            assert part.to_run == plan.steps[plan.resume : number]
    with pytest.raises(ValueError, match="not in"):
        whole.until("0" * 64)

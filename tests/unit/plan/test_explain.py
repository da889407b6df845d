"""Why layers are missing, as text: what differs from the most alike layer, or why the one that is there is not used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dibo.plan import explain
from tests.unit.plan.test_plan import Cache, flavours, plan_of

__all__ = ["flavours"]


def described(directory: Path, held: set[str], refused: dict[str, str]) -> list[str]:
    plan = plan_of(directory, Cache(held))
    kept = {planned.key: json.loads(planned.ingredients) for planned in plan.steps if planned.key in held}
    reasons = explain.explain(plan, kept)
    return explain.describe(plan, reasons, place_of=lambda _: "here", refused=refused).splitlines()


def test_layers_that_no_registry_has_are_counted(flavours: Path) -> None:
    plan = plan_of(flavours, Cache({plan_of(flavours, Cache(set())).image_key}))
    text = explain.describe(plan, (), place_of=lambda _: "here", only_here=2)
    assert text == "nothing is missing: all 5 layers are kept; only in the engine's store: 2"
    assert explain.describe(plan, (), place_of=lambda _: "here").endswith("layers are kept")


@pytest.mark.parametrize(
    "reason",
    [
        "registry.example/cache has it, and it is not used: the signature of it does not count",
        "the engine's store has it, and it is not used: it came from registry.example/cache, without a signature",
    ],
)
def test_a_layer_that_is_there_and_not_used(flavours: Path, reason: str) -> None:
    plan = plan_of(flavours, Cache(set()))
    first, second = (planned.key for planned in plan.steps[:2])
    lines = described(flavours, {first}, {first: "unseen", second: reason})
    assert lines[0].startswith(second[:12])
    assert lines[1] == f"    {reason}"
    assert lines[3] == "    no layer like it is kept"
    assert "unseen" not in "\n".join(lines)
    assert lines[-1] == "5 layers: 2 cached, 3 to build"


def test_one_cause_is_said_once(flavours: Path) -> None:
    keys = [planned.key for planned in plan_of(flavours, Cache(set())).steps]
    lines = described(flavours, set(), dict.fromkeys(keys, "it is not signed"))
    assert lines.count("    it is not signed") == 1
    assert lines.count("    not used either, for the same reason") == len(keys) - 1


def test_without_refusals_the_nearest_is_named(flavours: Path) -> None:
    first = plan_of(flavours, Cache(set())).steps[0].key
    lines = described(flavours, {first}, {})
    assert "no layer like it is kept" in lines[1]

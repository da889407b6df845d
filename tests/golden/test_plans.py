"""Plans and keys as they are, to the letter.

A change of a file here is a change of keys: every layer that anybody has cached is built again. When that is meant
(a new ingredient; FORMAT in dibo/plan/keys.py counts them), write the files anew and look at the difference:

    pytest tests/golden --update-golden && git diff tests/golden

Base, runner and epoch are fixed here, so neither another base nor another runner script changes these files.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dibo.flavours.model import FlavourFile, FlavourKind
from dibo.plan.keys import KeyInputs
from dibo.plan.plan import Plan, describe, make_plan
from tests.support.flavours import read_recipe

HERE = Path(__file__).parent
EXTRA = {
    "keys": (FlavourFile(path="authorized-keys", kind=FlavourKind.FILE, executable=False, digest="ab" * 32),)
}
STACKS = {
    "agent": ("agent",),
    "net": ("net",),
    "web": ("web",),
    "web-keys": ("web", "keys"),
}


def plan_of(name: str) -> Plan:
    return make_plan(
        read_recipe(HERE / "flavours", *STACKS[name], PORT="8080"),
        base_name="base.tar",
        base_ingredients=(("kind", "file"), ("sha256", "cd" * 32)),
        inputs=KeyInputs(
            runner="ef" * 32,
            epoch="2026-11",
            extra=EXTRA if "keys" in STACKS[name] else {},
            revisions={"licence": "0123456789abcdef"},
        ),
        held=lambda key: False,
    )


def as_json(plan: Plan) -> str:
    layers = [{"key": plan.base_key, "ingredients": json.loads(plan.base_ingredients)}]
    layers += [
        {"key": planned.key, "title": planned.step.title, "ingredients": json.loads(planned.ingredients)}
        for planned in plan.steps
    ]
    return json.dumps(layers, indent=1) + "\n"


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("ending", ["txt", "json"])
def test_golden(name: str, ending: str, pytestconfig: pytest.Config) -> None:
    plan = plan_of(name)
    text = describe(plan) + "\n" if ending == "txt" else as_json(plan)
    golden = HERE / f"{name}.{ending}"
    if pytestconfig.getoption("--update-golden"):
        golden.write_text(text)
    assert text == golden.read_text(), "see the head of this file for what to do"

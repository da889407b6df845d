"""Steps as a file holds them."""

from __future__ import annotations

import pytest

from dibo.errors import UsageError
from dibo.machines.steps import StepKind, parse_steps


def test_a_list_of_mappings() -> None:
    steps = parse_steps([{"expect": "login:"}, {"run": "uptime"}, {"wait": 2}, {"screenshot": "a.png"}])
    assert [step.kind for step in steps] == [
        StepKind.EXPECT,
        StepKind.RUN,
        StepKind.WAIT,
        StepKind.SCREENSHOT,
    ]
    assert str(steps[2]) == "wait 2"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"expect": "("}, "no regular expression"),
        ({"wait": "soon"}, "expected seconds"),
        ({"wait": -1}, "expected seconds"),
        ({"run": " "}, "is empty"),
        ({"ping": "x"}, "one of expect, type"),
        ({"expect": "a", "run": "b"}, "a mapping of one key"),
        ("expect", "a mapping of one key"),
    ],
)
def test_other_entries(entry: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_steps([entry])

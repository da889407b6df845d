"""A layer that another build made since the plan is not made again, whether or not somebody waited for it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dibo.build.build import _alone

KEY = "layer"


@pytest.mark.parametrize(
    ("at_plan", "now", "expected"),
    [
        ({}, {}, False),
        ({}, {KEY: 7.0}, True),  # made in between
        ({KEY: 5.0}, {KEY: 7.0}, True),  # made anew in between, and wanted anew
        ({KEY: 5.0}, {KEY: 5.0}, False),  # wanted anew
        ({"other": 5.0}, {"other": 5.0}, False),
    ],
)
def test_what_another_build_made_since_the_plan(
    tmp_path: Path, at_plan: dict[str, float], now: dict[str, float], expected: bool
) -> None:
    build_run = SimpleNamespace(
        engine=SimpleNamespace(held=lambda: now),
        workspace=SimpleNamespace(locks=tmp_path / "locks"),
        report=SimpleNamespace(say=lambda _: None),
    )
    job = SimpleNamespace(origins=SimpleNamespace(distrusted=lambda engine, keys: {}))
    with _alone(cast(Any, job), KEY, "title", cast(Any, build_run), held=at_plan) as made_by_another:
        assert made_by_another is expected

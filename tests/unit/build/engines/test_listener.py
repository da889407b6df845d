"""Marks of the runner among the output of hooks, and what hooks make of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.build.engine import StepRun
from dibo.build.engines.listener import MARK, BuildListener
from dibo.build.engines.step_log import StepLog
from dibo.plan.keys import KeyInputs
from dibo.plan.plan import make_plan
from tests.support.flavours import read_recipe, write_flavour

YAML = "packages:\n  default: [nginx, no-such-package]\n"


@pytest.fixture
def steps(tmp_path: Path) -> dict[str, StepRun]:
    """By their titles."""
    write_flavour(tmp_path, "a", ["install.d/10-a", "first-boot.d/20-b"], yaml=YAML)
    plan = make_plan(
        read_recipe(tmp_path, "a"),
        base_name="base.tar",
        base_ingredients=(("sha256", "0" * 64),),
        inputs=KeyInputs(runner="1" * 64, epoch="2026-11"),
        held=lambda _: False,
    )
    return {
        planned.step.title: StepRun(
            planned=planned,
            parent="base",
            context=tmp_path,
            labels={},
            log=tmp_path / "log",
            on_output=lambda _: None,
            on_hook=lambda _: None,
        )
        for planned in plan.steps
    }


@pytest.fixture
def step(steps: dict[str, StepRun]) -> StepRun:
    return steps["a install.d: 10-a"]


def test_the_hook_and_its_code_are_told(step: StepRun) -> None:
    listener = BuildListener(step)
    with StepLog(step.log) as log:
        for line in (f"{MARK}hook install.d/10-a", "no space", f"{MARK}failed 7"):
            listener.handle(line, log)
    assert step.log.read_text() == "--- hook install.d/10-a\nno space\n--- failed 7\n"
    error = listener.failed()
    assert "10-a of flavour 'a' in install.d ended with exit code 7" in error.message
    assert "| no space" in error.hint


@pytest.mark.parametrize("value", ["", "x", "7 8", "1e3", "٣", "9" * 5000])
def test_a_mark_that_a_hook_wrote_is_no_fault_of_ours(step: StepRun, value: str) -> None:
    listener = BuildListener(step)
    with StepLog(step.log) as log:
        listener.handle(f"{MARK}failed {value}", log)
        listener.handle(f"{MARK}failed 3", log)
    assert "ended with exit code 3" in listener.failed().message


@pytest.mark.parametrize(
    ("title", "mark", "message"),
    [
        (
            "a install.d: packages",
            "packages",
            "installing the packages of flavour 'a' (nginx, no-such-package)",
        ),
        ("a install.d: packages", "", "preparing the step 'a install.d: packages'"),
        ("a first-boot.d: 20-b", "first-boot", "copying the first-boot hooks of flavour 'a'"),
        ("finalise", "mandb", "the part mandb of dibo's step 'finalise'"),
    ],
)
def test_what_is_no_hook_is_not_called_one(
    steps: dict[str, StepRun], title: str, mark: str, message: str
) -> None:
    listener = BuildListener(steps[title])
    with StepLog(steps[title].log) as log:
        for line in (*([f"{MARK}hook {mark}"] if mark else ()), f"{MARK}failed 100"):
            listener.handle(line, log)
    assert listener.failed().message == f"{message} ended with exit code 100"

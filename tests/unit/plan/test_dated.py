"""Why layers are dated, and how old they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.plan.keys import KeyInputs
from dibo.plan.packages import ArchivePackage, Resolution
from dibo.plan.plan import Plan, describe, make_plan
from dibo.plan.recipe import with_packages
from tests.support.flavours import read_recipe, write_flavour

BASE = ArchivePackage(
    name="libc", version="1", architecture="amd64", sha256="ab" * 32, size=1, path="libc.deb"
)


@pytest.fixture
def flavours(tmp_path: Path) -> Path:
    write_flavour(tmp_path, "open", ["install.d/10-get", "install.d/20-more"])
    write_flavour(tmp_path, "shut", ["install.d/30-x"], yaml="packages: [x]\nnetwork: false\n")
    return tmp_path


def plan_of(flavours: Path, *names: str, epoch: str = "2026-11", held: bool = False) -> Plan:
    recipe = with_packages(read_recipe(flavours, *names), [None if "open" in names else (BASE,)])
    return make_plan(
        recipe,
        base_name="debian:trixie",
        base_ingredients=(("kind", "debian"),),
        inputs=KeyInputs(runner="cd" * 32, epoch=epoch),
        held=lambda _: held,
        resolution=Resolution(base=(BASE,)),
    )


def test_why(flavours: Path) -> None:
    plan = plan_of(flavours, "open", "shut")
    assert {planned.step.title: plan.why_dated(planned) for planned in plan.steps} == {
        "shut install.d: packages": "apt in the root chooses the packages",
        "open install.d: 10-get, 20-more": "10-get, 20-more may fetch",
        "shut install.d: 30-x": "",
        "finalise": "what hooks of open left to be done may fetch",
    }


def test_nothing_is_dated_that_has_no_network(flavours: Path) -> None:
    november, december = (plan_of(flavours, "shut", epoch=epoch) for epoch in ("2026-11", "2026-12"))
    assert november.keys == december.keys
    assert not any(november.why_dated(planned) for planned in november.steps)
    assert "dated" not in describe(november).partition("\n\n")[2]


def test_the_network_is_in_keys(flavours: Path) -> None:
    before = plan_of(flavours, "shut")
    (flavours / "shut" / "flavour.yaml").write_text("packages: [x]\nnetwork: [finalise]\n")
    after = plan_of(flavours, "shut")
    assert before.keys[:-1] == after.keys[:-1]
    (flavours / "shut" / "flavour.yaml").write_text("packages: [x]\nnetwork: true\n")
    assert plan_of(flavours, "shut").keys[1] != before.keys[1]


def test_the_table_says_why_and_how_old(flavours: Path) -> None:
    plan = plan_of(flavours, "open", "shut", held=True)
    lines = describe(plan, ages={key: days for days, key in enumerate(plan.keys)}).splitlines()
    assert next(line for line in lines if "10-get" in line).endswith(
        "(dated: 10-get, 20-more may fetch; made 2 days ago)"
    )
    assert next(line for line in lines if "packages" in line).endswith(
        "(dated: apt in the root chooses the packages; made 1 day ago)"
    )
    assert next(line for line in lines if "30-x" in line).endswith("shut install.d: 30-x")


def test_where_no_packages_are_chosen_all_is_dated(flavours: Path) -> None:
    plan = make_plan(
        read_recipe(flavours, "shut"),
        base_name="base.tar",
        base_ingredients=(("sha256", "0" * 64),),
        inputs=KeyInputs(runner="cd" * 32, epoch="2026-11"),
        held=lambda _: False,
    )
    assert all("no packages are chosen before the build" in plan.why_dated(planned) for planned in plan.steps)

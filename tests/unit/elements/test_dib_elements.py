"""Each of the 128 elements of diskimage-builder 3.43.0 is built as it is by a group, or stands in a list with a reason.

tests/integration/test_elements_of_the_wheel.py builds the groups. Here they are counted, and planned: elements are
read, what they need is found, and each has a trace that is looked for in the image.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from dibo.build.stacks import make_any_stack
from dibo.elements.loader import ElementCatalogue
from dibo.flavours.loader import Catalogue
from dibo.system import resources
from tests.support import dib
from tests.support.wheel import archives, debian, disks
from tests.support.wheel.build import variables_of, write_files
from tests.support.wheel.listed import LISTED
from tests.support.wheel.model import WheelGroup
from tests.unit.settings.test_settings import settings

ON_DEBIAN = {**debian.GROUPS, **disks.GROUPS}
GROUPS = {**ON_DEBIAN, **archives.GROUPS}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if dib.wheel() is None:
        pytest.skip("the wheel is missing")
    return dib.unpack(tmp_path_factory.mktemp("dib"))


@cache
def flavours() -> Catalogue:
    return Catalogue([resources.shared("flavours")])


def names_in(groups: dict[str, WheelGroup]) -> set[str]:
    return {name for group in groups.values() for name in group.traces}


@dib.needs_wheel
def test_elements_are_built_or_listed(theirs: Path) -> None:
    names = {path.name for path in theirs.iterdir() if path.is_dir()}
    own = {
        place.name for place in ElementCatalogue([], own=resources.shared("containerfiles") / "elements/own")
    }
    assert len(names) == 128
    assert names_in(GROUPS).isdisjoint(LISTED)
    assert names_in(GROUPS) | {*LISTED} == names
    assert all(traces for group in GROUPS.values() for traces in group.traces.values())
    counts = {
        "on Debian, unchanged": len(names_in(ON_DEBIAN) - own),
        "with stand-ins for archives, unchanged": len(names_in(GROUPS) - names_in(ON_DEBIAN) - own),
        "by dibo's own of the name": len(names_in(GROUPS) & own),
        "listed": len(LISTED),
    }
    assert counts == {
        "on Debian, unchanged": 73,
        "with stand-ins for archives, unchanged": 25,
        "by dibo's own of the name": 7,
        "listed": 23,
    }


def test_the_reference_says_how_many_and_which() -> None:
    text = (Path(__file__).parents[3] / "docs/reference/elements.md").read_text()
    assert "build 105, each" in text
    assert "73 run as they are on Debian" in text
    assert "25 run as they are with a" in text
    assert "In the place of 7, dibo has its own" in text
    assert "These 23 are not built" in text
    for name, reason in LISTED.items():
        assert any(f"`{name}`" in line and line.endswith(f"| {reason} |") for line in text.splitlines()), name


@dib.needs_wheel
@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_groups_are_planned(group: WheelGroup, theirs: Path, tmp_path: Path) -> None:
    write_files(group, tmp_path)
    variables = variables_of(group, tmp_path, theirs) | ({"DIBO_BASE": group.base} if group.base else {})
    stack = make_any_stack(replace(settings(variables), flavours=group.elements), flavours())
    assert {*group.traces} <= {*stack.all_names}

"""Each of the 128 elements of diskimage-builder 3.43.0 is planned as it is, on Debian or Ubuntu, or stands in a table.

A plan says that an element is read, that what it needs is found, and which steps with which keys it makes. That it
builds is a matter of tests/integration/test_elements.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from dibo.build.stacks import make_any_stack
from dibo.errors import DiboError
from dibo.flavours.loader import Catalogue
from dibo.system import resources
from tests.support import dib
from tests.unit.settings.test_settings import settings

ROOT = "makes a root in a way that dibo does not run"
ALL = 128
NOT_PLANNED = {
    "block-device-efi-lvm": "logical volumes need the device mapper",
    "centos": ROOT,
    "deploy-kexec": "needs 'deploy': Element 'deploy' not found",
    "docker": ROOT,
    "fedora": ROOT,
    "opensuse": ROOT,
    "rhel": ROOT,
}
"""What dibo says of the elements that it does not plan. Those with a root of their own start from --base; yum and
zypper are for roots of these."""
SYSTEMS = ("debian-minimal", "ubuntu", "fedora-minimal", "opensuse-minimal", "")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if dib.wheel() is None:
        pytest.skip("the wheel is missing")
    return dib.unpack(tmp_path_factory.mktemp("dib"))


@cache
def flavours() -> Catalogue:
    return Catalogue([resources.shared("flavours")])


def problems_of(name: str, theirs: Path) -> list[str]:
    """What each system says of an element, until one takes it; nothing then."""
    problems = []
    for system in SYSTEMS:
        wish = settings({"ELEMENTS_PATH": str(theirs)})
        names = tuple(dict.fromkeys(word for word in ("base", system, name) if word))
        try:
            make_any_stack(replace(wish, flavours=names), flavours())
        except DiboError as error:
            problems.append(error.message)
        else:
            return []
    return problems


@dib.needs_wheel
def test_elements_are_planned_or_listed(theirs: Path) -> None:
    names = sorted(path.name for path in theirs.iterdir() if path.is_dir())
    assert len(names) == ALL
    problems = {name: said for name in names if (said := problems_of(name, theirs))}
    assert sorted(problems) == sorted(NOT_PLANNED)
    for name, reason in NOT_PLANNED.items():
        assert any(reason in said for said in problems[name]), problems[name]
    assert ALL - len(problems) == 121

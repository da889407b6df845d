"""Options of all tests; their PATH, with the sbin directories, where mke2fs is, which an ordinary user lacks; and
what SIGINT does."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings

from dibo.system.process import clean_environment

os.environ["PATH"] = clean_environment()["PATH"]
# A shell without job control starts commands in the background with SIGINT ignored, which programs under test inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("dibo", settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.load_profile("dibo")  # no test asserts on time, Hypothesis's own included


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write what the code says now into tests/golden"
    )


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A test's name has no bytes of a parameter longer than a line: compressed ones may hold the time at which a worker
    made them, and pytest-xdist refuses workers whose names differ.
    """
    return argname if isinstance(val, bytes | bytearray) and len(val) > 40 else None


# Fixtures of a whole session that take minutes of two processors: images and ramdisks to boot.
_COSTLY = ("disks", "ramdisk", "examiner")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist, which reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run side by side (pytest-xdist, --dist loadgroup), those with real parts stay together if they share
    a costly fixture or are of one file, whose fixtures are costly too.
    """
    for item in items:
        if group := _group_of(item):
            item.add_marker(pytest.mark.xdist_group(group))


def _group_of(item: pytest.Item) -> str | None:
    if not (item.get_closest_marker("integration") or item.get_closest_marker("boot")):
        return None
    fixtures = getattr(item, "fixturenames", ())
    return next((name for name in _COSTLY if name in fixtures), item.path.stem)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail where pytest-xdist did not take the groups: each worker would build and boot everything."""
    if not hasattr(item.config, "workerinput") or not item.config.getoption("loadgroup", default=False):
        return
    group = _group_of(item)
    if group is not None and not item.nodeid.endswith(f"@{group}"):
        pytest.fail(f"pytest-xdist does not keep this test in its group {group!r}", pytrace=False)

"""Options of all tests."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("dibo", settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.load_profile("dibo")  # no test asserts on time, Hypothesis's own included


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write what the code says now into tests/golden"
    )


# Fixtures of a whole session that take minutes of two processors: images and ramdisks to boot.
_COSTLY = ("disks", "ramdisk", "examiner")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run side by side (pytest-xdist, --dist loadgroup), those with real parts stay together if they share
    a costly fixture or are of one file, whose fixtures are costly too.
    """
    for item in items:
        if item.get_closest_marker("integration") or item.get_closest_marker("boot"):
            fixtures = getattr(item, "fixturenames", ())
            shared = next((name for name in _COSTLY if name in fixtures), item.path.stem)
            item.add_marker(pytest.mark.xdist_group(shared))

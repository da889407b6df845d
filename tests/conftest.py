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

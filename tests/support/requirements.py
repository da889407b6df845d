"""Tests that need real programs say so with need(): skipped, aloud, where they are missing, but never in CI.

A test that skips in silence is a test that nobody runs. Where CI=true, what is missing is a failure.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from tests.support.programs import what_is_missing


def need(*programs: str) -> None:
    """Skip the test unless all `programs` are installed; fail it where CI=true."""
    if missing := what_is_missing(*programs):
        unmet(missing)


def unmet(reason: str) -> NoReturn:
    """Skip the test for a `reason` that lies in this machine; fail it where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must run this test: {reason}", pytrace=False)
    pytest.skip(reason)

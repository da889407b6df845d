"""Tests that need real programs say so with need(): skipped, and loudly, where they are missing, but never in CI.

A test that skips in silence is a test that nobody runs. Where CI=true, what is missing is a failure.
"""

from __future__ import annotations

import os

import pytest

from dibo import process, tools

# Programs that tests start and dibo itself does not, by Debian and Ubuntu package.
_PACKAGES = {
    "mformat": "mtools",
    "mcopy": "mtools",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "setpriv": "util-linux",
    "sfdisk": "fdisk",
}


def need(*programs: str) -> None:
    """Skip the test unless all `programs` are installed; fail it where CI=true."""
    missing = [program for program in programs if process.find(program) is None]
    if missing:
        packages = sorted({_PACKAGES.get(each) or tools.PACKAGES.get(each, each) for each in missing})
        unmet(f"{', '.join(missing)} not installed; sudo apt-get install {' '.join(packages)}")


def unmet(reason: str) -> None:
    """Skip the test for a `reason` that lies in this machine; fail it where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must run this test: {reason}", pytrace=False)
    pytest.skip(reason)

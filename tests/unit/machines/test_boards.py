"""The table of architectures."""

from __future__ import annotations

import pytest

from dibo.errors import UsageError
from dibo.flavours.model import ARCHITECTURES
from dibo.machines.boards import board_of
from dibo.system.package_names import PACKAGES


def test_every_architecture_that_dibo_builds_for_has_a_machine() -> None:
    """And its program has a package."""
    assert {board_of(name).program for name in ARCHITECTURES} <= set(PACKAGES)
    assert board_of("amd64/v2").architecture == "amd64"


def test_an_unknown_one() -> None:
    with pytest.raises(UsageError, match="'vax'"):
        board_of("vax")

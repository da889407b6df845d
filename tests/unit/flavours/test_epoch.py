"""Epochs that name a moment."""

from __future__ import annotations

import pytest

from dibo.flavours.epoch import start_of


@pytest.mark.parametrize(
    ("epoch", "seconds"),
    [
        ("2026-11", 1793491200),
        ("2026-11-01", 1793491200),
        ("20261101", 1793491200),
        ("20261101T000001Z", 1793491201),
        ("2026-11-01T00:00:02Z", 1793491202),
        ("pipeline-17", None),
        ("", None),
        ("2026-13-01", None),
        ("202611", None),
    ],
)
def test_epochs(epoch: str, seconds: int | None) -> None:
    assert start_of(epoch) == seconds

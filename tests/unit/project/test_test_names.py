"""The names of tests are the same in every process that collects them, as pytest-xdist wants."""

from __future__ import annotations

import gzip

import pytest


def test_a_name_holds_no_compressed_bytes(request: pytest.FixtureRequest) -> None:
    compressed = [gzip.compress(bytes(10_000), mtime=time) for time in (1, 2)]
    assert [_name(request, val) for val in compressed] == ["argument", "argument"]


def test_short_bytes_are_named_as_ever(request: pytest.FixtureRequest) -> None:
    assert _name(request, b"MZ") is None


def _name(request: pytest.FixtureRequest, val: bytes) -> object:
    """What becomes of `val` in the name of a test; None where pytest names it."""
    return request.config.hook.pytest_make_parametrize_id(config=request.config, val=val, argname="argument")

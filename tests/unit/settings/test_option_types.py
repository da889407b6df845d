"""Options of dibo.api of wrong types are a UsageError that names the option and what it takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from dibo.api import BuildOptions, ConvertOptions, DiskOptions, build, convert, inspect, plan
from dibo.errors import UsageError

IMAGE = "oci:no-such"


class _Wrong:
    """Of no type that an option has."""


def _plan(options: Any) -> object:
    return plan(["vm"], options=options)


def _convert(options: Any) -> object:
    return convert(IMAGE, "web", options=options)


def _disk(options: Any) -> object:
    return convert(IMAGE, "web", disk=options)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "call", "option"),
    [
        pytest.param(kind, call, option.name, id=f"{kind.__name__}.{option.name}")
        for kind, call in ((BuildOptions, _plan), (ConvertOptions, _convert), (DiskOptions, _disk))
        for option in fields(kind)
    ],
)
def test_no_option_takes_any_object(kind: Any, call: Callable[[Any], object], option: str) -> None:
    with pytest.raises(UsageError, match=f"^{option}: expected "):
        call(kind(**{option: _Wrong()}))


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("size", "big", "a number or None, got 'big'"),
        ("size", True, "a number or None, got True"),
        ("size", float("nan"), "a number or None, got nan"),
        ("size", 10**400, "a number or None, got 1000"),
        ("types", None, "a tuple or a list, each item a str, got None"),
        ("types", (1,), "a tuple or a list, each item a str, got (1,)"),
        ("layout", 5, "a str or a path or None, got 5"),
        ("layout", "a\0b", "a str or a path or None, without NUL characters, got 'a\\x00b'"),
        ("layout", Path("a\0b"), "a str or a path or None, without NUL characters, got "),
        ("loop", "no", "True or False, got 'no'"),
        ("converters_path", ("a\0",), "a tuple, each item a str or a path, without NUL characters, got "),
    ],
)
def test_the_message_has_what_the_option_takes(option: str, value: object, expected: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"{option}: expected {expected}")) as caught:
        _disk(DiskOptions(**{option: value}))  # type: ignore[arg-type]
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("option", "value"),
    [("environment", None), ("environment", {"A": 1}), ("environment", {"A": "\0"}), ("with_base", "no")],
)
def test_environments_and_choices(option: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{option}: expected"):
        _plan(BuildOptions(**{option: value}))  # type: ignore[arg-type]


def test_text_in_place_of_a_tuple_has_a_hint() -> None:
    with pytest.raises(UsageError, match="cache: expected a tuple") as caught:
        _plan(BuildOptions(cache="registry.example/cache"))  # type: ignore[arg-type]
    assert caught.value.hint == "('registry.example/cache',)"


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("options", lambda: _plan({})),
        ("options", lambda: _convert(DiskOptions())),
        ("disk", lambda: _disk(())),
        ("disk", lambda: build(["vm"], "web", disk={})),  # type: ignore[arg-type]
        ("output", lambda: build(["vm"], 5)),  # type: ignore[arg-type]
        ("output", lambda: convert(IMAGE, "a\0b")),
        ("image", lambda: convert(Path("image"), "web")),  # type: ignore[arg-type]
        ("image", lambda: inspect(b"web.raw")),  # type: ignore[arg-type]
        ("image", lambda: inspect("a\0b")),
        ("cache_dir", lambda: inspect("web.raw", cache_dir=5)),  # type: ignore[arg-type]
        ("progress", lambda: inspect("web.raw", progress=5)),  # type: ignore[arg-type]
        ("flavours", lambda: plan(5)),  # type: ignore[arg-type]
        ("flavours", lambda: plan(["vm", "a\0b"])),
    ],
)
def test_arguments(name: str, call: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match=f"^{name}: expected "):
        call()

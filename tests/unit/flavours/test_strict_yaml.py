"""YAML within bounds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from dibo.errors import FlavourError, LayoutError
from dibo.flavours import strict_yaml
from dibo.flavours.loader import load_flavour, read_layout

ALIASES = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ALIASES, "aliases stand for more than 100000 values"),
        ("x:\n" + " [\n" * 5000, "more than 64 lists and mappings in each other"),
        ("- " * 5000 + "x", "more than 64 lists and mappings in each other"),
        ("a: &a [*a]\n", "an alias stands for what it is in"),
        ("a: 1\nb: 1\na: 2\n", "stands there twice"),
    ],
)
@pytest.mark.parametrize("load", [strict_yaml.load, strict_yaml.load_texts])
def test_what_is_refused(load: object, text: str, problem: str) -> None:
    began = time.monotonic()
    with pytest.raises(yaml.YAMLError, match=problem) as caught:
        load(text)  # type: ignore[operator]
    assert "line " in str(caught.value)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("text", ["day: 2026-02-31", f"number: {'1' * 5000}"])
def test_values_that_make_no_sense(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match="invalid value"):
        strict_yaml.load(text)


def test_what_is_fine() -> None:
    assert strict_yaml.load("a: &a [1, 2]\nb: *a\nc: *a\n") == {"a": [1, 2], "b": [1, 2], "c": [1, 2]}
    assert strict_yaml.load("x: " + "[" * 60 + "]" * 60)
    assert strict_yaml.load("") is None


def test_a_flavour_and_a_layout(tmp_path: Path) -> None:
    flavour = tmp_path / "web"
    flavour.mkdir()
    (flavour / "flavour.yaml").write_text(f"summary: x\n{ALIASES}")
    with pytest.raises(FlavourError, match=r"web/flavour\.yaml.*aliases stand for .* line "):
        load_flavour(flavour)
    layout = tmp_path / "layout.yaml"
    layout.write_text("[" * 5000)
    with pytest.raises(LayoutError, match=r"layout\.yaml.*in each other.* line 1"):
        read_layout(layout)

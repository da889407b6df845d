"""The functions of the page's script that need no browser, run by QuickJS: boxes of the map, and texts of numbers."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import quickjs
from hypothesis import example, given
from hypothesis import strategies as st

import dibo.reports.page as page_module
from dibo.reports.page_tables import percent
from dibo.units import human_size

ASSETS = Path(page_module.__file__).with_name("assets")
Box = list[float]
SIZES = st.lists(st.integers(min_value=0, max_value=1 << 44), min_size=1, max_size=80)
SIDES = st.floats(min_value=1, max_value=4000)


@cache
def _script() -> Any:
    context = quickjs.Context()
    for name in ("squarify.js", "text.js"):
        context.eval((ASSETS / name).read_text().replace('"use strict";', ""))
    return context


def call(function: str, *arguments: object) -> Any:
    return json.loads(_script().eval(f"JSON.stringify({function}(...{json.dumps(arguments)}))"))


@given(SIZES, SIDES, SIDES)
@example([1, 0, 0], 10.0, 10.0)
@example([0, 0], 10.0, 10.0)
@example([1 << 44, 1, 1], 900.0, 3.0)
def test_boxes_have_areas_in_proportion_and_no_two_overlap(
    sizes: list[int], width: float, height: float
) -> None:
    boxes: list[Box] = call("squarify", sizes, 5, 7, width, height)
    assert len(boxes) == len(sizes)
    total, area = sum(sizes), width * height
    slack = 1e-6 * max(width, height)
    for size, (x, y, across, down) in zip(sizes, boxes, strict=True):
        assert min(across, down) >= 0
        expected = area * size / total if total else 0
        assert math.isclose(across * down, expected, rel_tol=1e-6, abs_tol=1e-6 * area)
        assert x >= 5 - slack
        assert y >= 7 - slack
        assert x + across <= 5 + width + slack
        assert y + down <= 7 + height + slack
    for place, one in enumerate(boxes):
        for other in boxes[:place]:
            overlap_x = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
            overlap_y = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
            assert min(overlap_x, overlap_y) <= slack


def test_boxes_of_like_sizes_are_nearly_square() -> None:
    boxes: list[Box] = call("squarify", [6, 6, 4, 3, 2, 2, 1], 0, 0, 600, 400)  # the example of its authors
    assert all(max(across / down, down / across) < 2.8 for _, _, across, down in boxes)


@given(st.integers(min_value=0, max_value=1 << 49))
@example(1023)
@example(1024)
@example(999 * 1024)
@example(1000 * 1024)
@example(1 << 40)
def test_sizes_read_as_in_the_rest_of_the_page(size: int) -> None:
    assert call("sizeText", size) == human_size(size)


@given(st.integers(min_value=0, max_value=1 << 40), st.integers(min_value=1, max_value=1 << 40))
def test_shares_read_as_in_the_rest_of_the_page(part: int, whole: int) -> None:
    shown, expected = call("percentText", part, whole), percent(part, whole)
    if shown != expected:  # halves are rounded up there, to even numbers here
        assert abs(float(shown.strip("< %")) - float(expected.strip("< %"))) <= 1

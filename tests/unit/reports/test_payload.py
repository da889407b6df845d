"""Data of a page: it ends no element that it is in, and the index of files is what it was made from."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibo.reports.payload import data_block, file_index, size_views
from dibo.reports.visible import visible_path
from tests.support.report_samples import HOSTILE, record, report_on

NAMES = st.lists(
    st.binary(min_size=1, max_size=6).map(lambda name: name.replace(b"/", b"_")), min_size=1, max_size=4
)


def unpacked(text: str) -> dict[str, list[Any]]:
    document: dict[str, list[Any]] = json.loads(zlib.decompress(base64.b64decode(text), -15))
    return document


def paths_of(index: dict[str, list[Any]]) -> list[str]:
    """As the script of the page puts them together."""
    trail: list[str] = []
    paths = []
    for name, depth in zip(index["names"], index["depths"], strict=True):
        del trail[depth:]
        assert len(trail) == depth
        trail.append(name)
        paths.append("/" + "/".join(trail))
    return paths


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=4), max_leaves=20
    )
)
def test_a_block_ends_no_element_and_is_read_back(document: object) -> None:
    block = data_block(document)
    assert not set("<>&") & set(block)
    assert block.isascii()
    assert json.loads(block) == document


def test_a_block_of_a_hostile_text() -> None:
    assert "</script" not in data_block([HOSTILE])
    assert json.loads(data_block([HOSTILE])) == [HOSTILE]


@given(
    st.dictionaries(
        NAMES.map(b"/".join), st.integers(min_value=0, max_value=1 << 40), min_size=1, max_size=30
    )
)
def test_the_index_has_every_path(sizes: dict[bytes, int]) -> None:
    files = {
        path: record(size)
        for path, size in sizes.items()
        if not any(other.startswith(path + b"/") for other in sizes)
    }
    report = report_on(files)
    text, left_out = file_index(report.files, [], most=1 << 20)
    index = unpacked(text)
    assert left_out == 0
    assert paths_of(index) == [visible_path(file.path) for file in report.files]
    assert index["sizes"] == [file.size for file in report.files]


@pytest.mark.parametrize("most", [6000, 3000, 1500])
def test_what_is_small_is_taken_together_until_it_fits(most: int) -> None:
    files = {
        f"usr/{number % 7}/{number * 7919 % 100_003}".encode(): record(number * 37) for number in range(2000)
    }
    report = report_on(files)
    text, left_out = file_index(report.files, [], most=most)
    index = unpacked(text)
    assert 0 < len(text) <= most
    assert sum(index["sizes"]) == report.totals.bytes
    small = [name for name in index["names"] if name.endswith(" smaller")]
    assert sum(int(name.split()[0]) for name in small) == left_out
    assert paths_of(index)
    largest = max(files, key=lambda path: files[path].size)
    assert visible_path(largest) in paths_of(index)


def test_no_index_where_nothing_fits() -> None:
    report = report_on({b"a": record(5)})
    assert file_index(report.files, [], most=10) == ("", 1)


def test_layers_packages_and_attributes() -> None:
    report = report_on(
        {
            b"bin/su": record(5, layer=1, package="login", mode=0o4755),
            b"bin/sh": record(4, kind="symlink", layer=0, mode=0o777, target=b"dash"),
        }
    )
    index = unpacked(file_index(report.files, ["base", HOSTILE], most=5000)[0])
    assert index["names"] == ["bin", "sh", "su"]
    assert index["layers"] == [-1, 0, 1]
    assert index["sizes"] == [0, 0, 5]
    assert [index["package"][place] for place in index["packages"] if place >= 0] == ["login"]
    assert [index["attribute"][place] for place in index["attributes"]] == [
        "drwxr-xr-x 0:0",
        "lrwxrwxrwx 0:0",
        "-rwsr-xr-x 0:0",
    ]
    assert "\u202e" not in index["layer"][1]


def test_views() -> None:
    views = size_views(report_on({b"a/\x1b[0m": record(2)}).views)
    assert views == {"directories": ["all", 2, 1, [["a", 2, 1, [["\\x1b[0m", 2, 1]]]]]}

"""Sizes: what people write, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibo.errors import UsageError
from dibo.units import GIB, KIB, MIB, TIB, counted, format_gib, human_size, parse_gb, parse_gib, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("4096B", 4096),
        ("64MiB", 64 * MIB),
        ("64M", 64 * MIB),
        ("64 mb", 64 * MIB),
        ("1.5GiB", 3 * GIB // 2),
        ("2g", 2 * GIB),
        ("1T", TIB),
        (" 8K ", 8 * KIB),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "abc", "-1M", "1.M", ".5G", "1e3", "64MiBs", "1 2", "0x10", "1,5G", "∞"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2", 2 * GIB),
        ("1.5", 3 * GIB // 2),
        (".5", GIB // 2),
        ("0.1", 103 * MIB),  # 102.4 MiB, rounded up
        ("0.000000001", MIB),
        (" 3 ", 3 * GIB),
    ],
)
def test_image_sizes_are_gib_in_whole_mib(text: str, size: int) -> None:
    assert parse_gib(text, name="--size") == size


@pytest.mark.parametrize(
    "text", ["", "abc", "2G", "-1", "1e3", "2.", "$(touch x)", "1 2", "inf", "nan", "12345678"]
)
def test_what_is_no_image_size(text: str) -> None:
    with pytest.raises(UsageError, match="--size: expected a number of GB, got "):
        parse_gib(text, name="--size")


def test_an_image_of_nothing() -> None:
    with pytest.raises(UsageError, match=r"--size: expected more than 0 GB, got '0\.0'"):
        parse_gib("0.0", name="--size")


@given(st.integers(min_value=1, max_value=1 << 20))
def test_what_dibo_writes_a_hook_can_print_back(mebibytes: int) -> None:
    """Hooks are given IMAGE_SIZE as format_gib writes it, and may answer with the same."""
    assert parse_gib(format_gib(mebibytes * MIB), name="--size") == mebibytes * MIB


@given(st.integers(min_value=0, max_value=1 << 50), st.sampled_from(["", "B", "K", "MiB", "G", "TB"]))
def test_whole_numbers_keep_their_value(number: int, unit: str) -> None:
    factor = {"": 1, "B": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB}[unit[:1]]
    assert parse_size(f"{number}{unit}") == number * factor


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (KIB, "1 KiB"),
        (1010 * KIB, "1010 KiB"),
        (3 * GIB // 2, "1.5 GiB"),
        (TIB, "1 TiB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert human_size(size) == text


def test_one_and_several() -> None:
    assert [counted(count, "layer") for count in (0, 1, 2)] == ["0 layers", "1 layer", "2 layers"]


def test_a_number_of_gb() -> None:
    assert [parse_gb(text, name="--max") for text in ("0", " 5 ", "0.5")] == [0, 5 * GIB, GIB // 2]
    for text in ("-1", "1e99", "nan", "", "5G", "9" * 30):
        with pytest.raises(UsageError, match=f"--max '{text}' is not a number of GB"):
            parse_gb(text, name="--max")

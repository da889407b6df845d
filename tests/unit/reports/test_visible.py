"""Text that hides nothing, and markup that cannot be broken out of."""

from __future__ import annotations

import html
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibo.reports.markup import Markup, tag
from dibo.reports.visible import visible, visible_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain name", "plain name"),
        ("grüße 日本 🙂 a\u0301", "grüße 日本 🙂 a\u0301"),
        ("a\nb\tc\x1b[0m\x7f\x9b", "a\\nb\\tc\\x1b[0m\\x7f\\x9b"),
        ("exe\u202egpj", "exe\\u202egpj"),
        ("a\u200bb\u00adc\ufeff\u2066", "a\\u200bb\\xadc\\ufeff\\u2066"),
        ("a\u2028b\u2029", "a\\u2028b\\u2029"),
        ("\udcff\ue000\U000e0001", "\\udcff\\ue000\\U000e0001"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text: str, expected: str) -> None:
    assert visible(text) == expected


def test_long_texts_are_cut() -> None:
    assert visible("x" * 5000, most=10) == "x" * 9 + "…"


def test_paths_that_are_no_text() -> None:
    assert visible_path(b"usr/\xff\xfe\n") == "/usr/\\xff\\xfe\\n"


@given(st.text())
def test_no_hidden_character_is_left_and_it_is_the_same_twice(text: str) -> None:
    shown = visible(text)
    assert all(unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn") for character in shown)
    assert visible(shown) == shown


@given(st.text(max_size=200))
def test_texts_and_attributes_are_read_back_as_they_were_shown(text: str) -> None:
    made = tag("p", text, title=text).html
    inside = made.removeprefix('<p title="').removesuffix("</p>")
    attribute, _, content = inside.partition('">')
    assert not set("<>\"'") & set(attribute)
    assert not set("<>") & set(content)
    assert html.unescape(content) == html.unescape(attribute) == visible(text)


def test_attributes() -> None:
    made = tag("td", Markup("<b>x</b>"), None, class_="n", data_v="1", hidden=True, lang=None, title=False)
    assert made.html == '<td class="n" data-v="1" hidden><b>x</b></td>'

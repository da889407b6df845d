"""What a stream can show is decided by what it is and by what users of rich set."""

from __future__ import annotations

import io

import pytest

from dibo.system.terminal import cells, fitted, look_of, one_line, size_of, without_controls


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "live", "colour"),
    [
        ({}, True, True),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "unknown"}, False, False),
        ({"TERM": ""}, False, True),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False, False),
        ({"CI": "true"}, False, True),
        ({"CI": "false"}, True, True),
        ({"TTY_INTERACTIVE": "0"}, False, True),
        ({"TTY_COMPATIBLE": "0"}, False, False),
    ],
)
def test_a_terminal(environment: dict[str, str], live: bool, colour: bool) -> None:
    look = look_of(Terminal(), {"TERM": "xterm", **environment})
    assert (look.live, look.colour) == (live, colour)


@pytest.mark.parametrize(
    ("environment", "colour"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": ""}, False),
        ({"TTY_COMPATIBLE": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"CI": "true", "FORCE_COLOR": "1"}, True),
    ],
)
def test_a_pipe(environment: dict[str, str], colour: bool) -> None:
    look = look_of(io.StringIO(), {"TERM": "xterm", **environment})
    assert (look.live, look.colour) == (False, colour)


def test_a_terminal_that_takes_no_utf_8_and_a_stream_that_is_closed() -> None:
    class Latin(Terminal):
        encoding = "latin-1"

    assert not look_of(Latin(), {"TERM": "xterm"}).live
    closed = io.StringIO()
    closed.close()
    assert not look_of(closed, {"TERM": "xterm"}).live


@pytest.mark.parametrize(("columns", "expected"), [("132", 132), ("0", 80), ("-5", 80), ("x", 80), ("²", 80)])
def test_columns(columns: str, expected: int) -> None:
    assert size_of(io.StringIO(), {"COLUMNS": columns}) == (expected, 24)


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("abc", 5, "abc  "),
        ("abcdef", 4, "abc…"),
        ("漢字", 4, "漢字"),
        ("漢字漢", 4, "漢… "),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
        ("abc", 0, "…"),
    ],
)
def test_texts_fit(text: str, width: int, expected: str) -> None:
    assert fitted(text, width) == expected
    assert cells(fitted(text, width)) == max(width, 1)


@pytest.mark.parametrize("piece", ["x", "\r", "x\r", "\r\x01"])
def test_a_line_of_megabytes_ends_in_the_time_of_a_test(piece: str) -> None:
    assert "\r" not in without_controls(piece * 1_500_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo\n\n", "two"),
        ("10%\r20%", "20%"),
        ("a\tb", "a b"),
        ("\x1b[2J\u202e\u200f", "\\x1b[2J\\u202e\\u200f"),
        ("", ""),
    ],
)
def test_one_line(text: str, expected: str) -> None:
    assert one_line(text) == expected

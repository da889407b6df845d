"""What a stream can show, and text that gives a terminal no orders.

    NO_COLOR=…           no colours (https://no-color.org)
    FORCE_COLOR=…        colours, also where the stream is no terminal; nothing moves there all the same
    TTY_COMPATIBLE=0|1   the stream takes no escape sequences, or takes them
    TTY_INTERACTIVE=0    a terminal on which nothing shall move
    TERM=dumb            no escape sequences at all
    CI=…                 a log that is read later: nothing moves, also on a pseudo terminal
    COLUMNS=…            the width, in place of the terminal's

The first four mean what they mean to users of rich.
"""

from __future__ import annotations

import os
import re
import textwrap
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Final

_WRITTEN_OVER: Final = re.compile(r"^[^\n]*\r(?=[^\r\n])|\r+(?=\n|$)", re.MULTILINE)
"""Anchored, so that the time grows with the length of a line, and not with its square."""
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LONGEST_WORD: Final = 300
"""Characters of a path or another word that are shown of it."""
_LONG_WORD: Final = re.compile(rf"\S{{{_LONGEST_WORD + 1},}}")
_UNKNOWN: Final = ("dumb", "unknown")
_USUAL: Final = (80, 24)
_NO: Final = ("", "0", "false", "no")
_SGR: Final = {
    "error": "1;31",
    "warning": "1;33",
    "done": "32",
    "failed": "31",
    "interrupted": "33",
    "faint": "2",
    "strong": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a stream can show."""

    live: bool
    """Whether rows may be drawn again and again."""
    colour: bool

    def styled(self, text: str, style: str) -> str:
        """The text in a style of this module, where there are colours (ECMA-48, SGR)."""
        return f"\x1b[{_SGR[style]}m{text}\x1b[0m" if self.colour else text


def look_of(stream: IO[str], environment: Mapping[str, str]) -> Look:
    terminal = is_terminal(stream)
    term = environment.get("TERM", "")
    compatible = environment.get("TTY_COMPATIBLE")
    if term in _UNKNOWN or compatible == "0" or environment.get("NO_COLOR"):
        colour = False
    elif compatible == "1" or environment.get("FORCE_COLOR"):
        colour = True
    else:
        colour = terminal and "FORCE_COLOR" not in environment
    quiet = environment.get("CI", "").lower() not in _NO or environment.get("TTY_INTERACTIVE") == "0"
    able = term not in ("", *_UNKNOWN) and compatible != "0" and _is_utf8(stream)
    return Look(live=terminal and able and not quiet, colour=colour)


def is_terminal(stream: IO[str]) -> bool:
    try:
        return stream.isatty()
    except (OSError, ValueError):  # it is closed
        return False


def size_of(stream: IO[str], environment: Mapping[str, str]) -> tuple[int, int]:
    """Columns and lines of a terminal."""
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError, AttributeError):
        columns, lines = 0, 0
    given = environment.get("COLUMNS", "")
    if given.isascii() and given.isdecimal() and 0 < int(given) < 10_000:
        columns = int(given)
    return columns or _USUAL[0], lines or _USUAL[1]


def without_controls(text: str) -> str:
    """The text with control characters written as escapes, but for tabs and line breaks: what hooks, registries and
    images say must not give orders to a terminal (ECMA-48), nor show words in another order (UAX #9). Of a line that
    was written over, such as a percentage, the last state."""
    return _CONTROLS.sub(_escaped, _WRITTEN_OVER.sub("", text))


def shortened(text: str) -> str:
    """The text with the middle left out of words that fill more than a few lines, such as a path of 4,000
    characters: both ends tell which it is."""
    half = _LONGEST_WORD // 2
    return _LONG_WORD.sub(lambda word: f"{word[0][:half]}…{word[0][-half:]}", text)


def encodable(text: str, stream: IO[str]) -> str:
    """The text, with escapes for what the stream's encoding does not have."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding, getattr(stream, "errors", None) or "surrogateescape")
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def one_line(text: str) -> str:
    """The last line of a text that has something in it, fit for a row of a terminal."""
    lines = [line for line in without_controls(text).splitlines() if line.strip()]
    return " ".join(lines[-1].split()) if lines else ""


def cells(text: str) -> int:
    """Columns that a text without controls takes: two for wide characters (UAX #11), none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.category(char) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(char) in "WF"
        else 1
        for char in text
    )


def wrapped(text: str, columns: int, *, indent: str = "") -> list[str]:
    """Lines of fewer than `columns`, unless a word takes more: none is cut. All but the first are indented further."""
    return textwrap.wrap(
        text,
        max(1, columns - 1),
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def fitted(text: str, width: int) -> str:
    """The text, cut with an ellipsis where it takes more than `width` columns, and filled up with spaces."""
    if (taken := cells(text)) <= width:
        return text + " " * (width - taken)
    while text and cells(text) > width - 1:
        text = text[:-1]
    return text + "…" + " " * (width - 1 - cells(text))


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def _is_utf8(stream: IO[str]) -> bool:
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"

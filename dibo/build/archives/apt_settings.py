"""Settings of apt as files have them: apt.conf(5). They are read and not obeyed: what counts is the caller's.

    APT { Install-Recommends "false"; };    // the same as APT::Install-Recommends "false";

Names are the same in small and in capital letters, and quotes may be left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

_TOKEN: Final = re.compile(
    r"""
    (?P<order>\#(?:clear|include)\b)
    | /\*.*?\*/ | (?://|\#)[^\n]* | \s+
    | (?P<sign>[{};])
    | (?P<word>(?:"[^"\n]*"|/(?![/*])|[^\s"{};\#/])+)
    """,
    re.DOTALL | re.VERBOSE,
)
_YES: Final = ("yes", "true", "with", "on", "enable", "1")
_NO: Final = ("no", "false", "without", "off", "disable", "0")


def apt_settings(texts: Iterable[str]) -> dict[str, str]:
    """What files say together, in their order, a later one counts more: values by names in small letters. Raises
    ValueError for what cannot be read, and for orders, which take settings back or read other files."""
    settings: dict[str, str] = {}
    for text in texts:
        settings |= _settings(text)
    return settings


def says_yes(settings: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Whether a setting is on, as apt reads it."""
    value = settings.get(name, "").lower()
    return True if value in _YES else False if value in _NO else default


def _settings(text: str) -> Iterator[tuple[str, str]]:
    scopes: list[str] = []
    words: list[str] = []
    for part in _parts(text):
        if part not in ("{", "}", ";"):
            words.append(part)
            continue
        if len(words) > 1:
            yield "::".join((*scopes, words[0])).lower(), " ".join(words[1:])
        if part == "{":
            if not words:
                raise ValueError("a block has no name")
            scopes.append(words[0])
        elif part == "}" and scopes:
            scopes.pop()
        words = []
    if words:
        raise ValueError(f"{words[0][:80]!r} at the end of a file is not ended")


def _parts(text: str) -> Iterator[str]:
    """Words without their quotes, and signs."""
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"{text[place : place + 80].splitlines()[0]!r} cannot be read")
        if match["order"]:
            raise ValueError(f"{match['order']} is no setting")
        if match["sign"] or match["word"]:
            yield match["sign"] or match["word"].replace('"', "")
        place = match.end()

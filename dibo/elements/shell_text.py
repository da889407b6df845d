"""Words as a shell expands them, as far as that is safe without a shell.

Quotes, `$NAME`, `${NAME}`, `${NAME:-text}` and `${NAME-text}` are expanded. What runs a command or depends on the
machine is not: such text belongs to bash, in the sandbox (POSIX.1-2017, XCU 2.6).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_PARAMETER: Final = re.compile(
    r"\$(?:(?P<plain>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)(?P<rest>:?-[^{}$`'\"\\]*)?\})"
)
_OPERATORS: Final = frozenset(";&|<>()`")
_ESCAPED_IN_QUOTES: Final = frozenset('$`"\\')
_BRACES: Final = re.compile(r"\{[^{}]*(,|\.\.)[^{}]*\}")


class NeedsShell(Exception):
    """The text has something that only a shell can expand; the message says what."""


class UnsetVariable(Exception):
    """The text has a variable that is not set; the message is its name."""


def expand_words(text: str, environment: Mapping[str, str]) -> list[str]:
    """The words of a line, without a comment at its end. Raises NeedsShell, UnsetVariable."""
    return _Expansion(text, environment).words()


def variables_in(text: str) -> frozenset[str]:
    """Names of the variables that stand in `text`."""
    return frozenset(match["plain"] or match["braced"] for match in _PARAMETER.finditer(text))


class _Expansion:
    def __init__(self, text: str, environment: Mapping[str, str]) -> None:
        self._text = text
        self._environment = environment
        self._words: list[str] = []
        self._word: str | None = None
        """The open word; None between words."""

    def words(self) -> list[str]:
        at, text = 0, self._text
        while at < len(text):
            character = text[at]
            if character in " \t\n":
                self._close()
            elif character == "#" and self._word is None:
                break
            elif character == "'":
                at = self._single(at)
            elif character == '"':
                at = self._double(at)
            elif character == "\\":
                at += 1
                self._add(text[at : at + 1])
            elif character == "$":
                at = self._parameter(at, quoted=False)
            else:
                self._refuse(at)
                self._add(character)
            at += 1
        self._close()
        return self._words

    def _refuse(self, at: int) -> None:
        character = self._text[at]
        if character in _OPERATORS:
            raise NeedsShell(f"{character} outside quotes")
        if character == "~" and self._word is None:
            raise NeedsShell("~ for a home directory")
        if character == "{" and _BRACES.match(self._text, at):
            raise NeedsShell("a list in braces")

    def _add(self, text: str) -> None:
        self._word = (self._word or "") + text

    def _close(self) -> None:
        if self._word is not None:
            self._words.append(self._word)
        self._word = None

    def _single(self, at: int) -> int:
        end = self._text.find("'", at + 1)
        if end < 0:
            raise NeedsShell("a quote that is not closed")
        self._add(self._text[at + 1 : end])
        return end

    def _double(self, at: int) -> int:
        self._add("")
        at += 1
        while at < len(self._text):
            character = self._text[at]
            if character == '"':
                return at
            if character == "`":
                raise NeedsShell("a command in backquotes")
            if character == "$":
                at = self._parameter(at, quoted=True)
            elif character == "\\" and self._text[at + 1 : at + 2] in _ESCAPED_IN_QUOTES:
                at += 1
                self._add(self._text[at : at + 1])
            else:
                self._add(character)
            at += 1
        raise NeedsShell("a quote that is not closed")

    def _parameter(self, at: int, *, quoted: bool) -> int:
        """The index of the last character of the parameter."""
        match = _PARAMETER.match(self._text, at)
        if match is None:
            following = self._text[at + 1 : at + 2]
            if following and following not in " \t\n\"'/:.,%+=@^~":
                raise NeedsShell(f"${following}")
            self._add("$")
            return at
        name, rest = match["plain"] or match["braced"], match["rest"] or ""
        value = self._environment.get(name)
        if rest and (value is None or (not value and rest.startswith(":"))):
            value = rest.removeprefix(":").removeprefix("-")
        if value is None:
            raise UnsetVariable(name)
        if quoted:
            self._add(value)
        else:
            self._split(value)
        return match.end() - 1

    def _split(self, value: str) -> None:
        """Unquoted values are words of their own at their blanks."""
        for part in re.split(r"([ \t\n]+)", value):
            if part.strip(" \t\n"):
                self._add(part)
            elif part:
                self._close()

"""Text of an image that a reader sees as it is: nothing in it hides, moves or imitates other text.

    a line break, an escape sequence            \\n  \\x1b      control characters (Unicode category Cc)
    a right-to-left override, a zero-width space  \\u202e      format characters (Cf), separators of lines (Zl, Zp)
    bytes that are no UTF-8                     \\xff
    a surrogate, a private or unassigned one    \\udc80        what no font shows (Cs, Co, Cn)

UAX #9 and UTR #36 say what such characters can do: `gpj.exe` that reads `exe.jpg` is the least of it.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_HIDDEN: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
MOST_CHARACTERS: Final = 4096
"""Of one text: a name has at most 255 bytes and a path 4096, but descriptions have no bound."""


def visible(text: str, *, most: int = MOST_CHARACTERS) -> str:
    """The text with escapes for what cannot be seen, and cut after `most` characters."""
    if len(text) > most:
        text = text[: most - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible_character, text))


def visible_path(path: bytes) -> str:
    """A path without its first slash, as text with it."""
    return visible("/" + path.decode(errors="backslashreplace"))


def _visible_character(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else _escaped(character)
    return _escaped(character) if unicodedata.category(character) in _HIDDEN else character


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()

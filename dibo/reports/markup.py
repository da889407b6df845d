"""HTML, written so that no text of an image can become markup: what is no Markup is escaped, without exception."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Final

from dibo.reports.visible import visible

_VOID: Final = frozenset(("meta", "link", "input", "br", "col"))


@dataclass(frozen=True, slots=True)
class Markup:
    """Finished HTML."""

    html: str

    def __add__(self, following: Markup) -> Markup:
        return Markup(self.html + following.html)


Child = str | Markup | None
"""Text, which is made visible and escaped; markup; or nothing."""
NOTHING: Final = Markup("")


def text(value: str) -> Markup:
    return Markup(escape(visible(value)))


def joined(children: Iterable[Child]) -> Markup:
    return Markup("".join(_html(child) for child in children))


def tag(element: str, /, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """An element. Attributes: an underscore in a name is a dash, one at its end is left out (`class_`); True has no
    value, None and False are left out."""
    words = [element]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        word = key.rstrip("_").replace("_", "-")
        words.append(word if value is True else f'{word}="{escape(visible(str(value)))}"')
    start = f"<{' '.join(words)}>"
    if element in _VOID:
        return Markup(start)
    return Markup(f"{start}{joined(children).html}</{element}>")


def _html(child: Child) -> str:
    if child is None:
        return ""
    return child.html if isinstance(child, Markup) else text(child).html

"""Markdown pages of this project, as tests look at them: tables made from the code, links, headings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
_SKIPPED = {".git", ".venv", ".make", ".pytest_cache", ".hypothesis", "dist", "build", "node_modules"}
_LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^(```.*?^```|(?:^ {4}[^\n]*\n)+)", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Every page of the project, shallow ones first."""
    found = [path for path in PROJECT.rglob("*.md") if not _SKIPPED & set(path.relative_to(PROJECT).parts)]
    return sorted(found, key=lambda path: (len(path.parts), path))


def links(text: str) -> Iterator[str]:
    """Targets of links, outside of blocks of code."""
    yield from _LINK.findall(_FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """What a link may name after `#`: headings as GitHub writes them."""
    titles = re.findall(r"^#+ +(.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table; a `|` in a cell is escaped."""
    lines = [head, ("---",) * len(head), *rows]
    cells = ("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return (
        "\n".join(cells).replace("| --- ", "|---").replace("|--- |", "|---|").replace("---|---| ", "---|---|")
    )


def generated(text: str, name: str) -> str:
    """What stands between `<!-- name: from the code -->` and the next `<!-- end -->`. Raises KeyError."""
    return _block(text, name)[2].strip("\n")


def with_generated(text: str, name: str, content: str) -> str:
    """`text` with that part replaced. Raises KeyError."""
    found = _block(text, name)
    return f"{text[: found.start(2)]}\n\n{content}\n\n{text[found.end(2) :]}"


def _block(text: str, name: str) -> re.Match[str]:
    begin = re.escape(f"<!-- {name}: from the code -->")
    found = re.search(rf"({begin})(.*?)(?=<!-- end -->)", text, re.DOTALL)
    if found is None:
        raise KeyError(name)
    return found

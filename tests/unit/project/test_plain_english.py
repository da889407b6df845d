"""Messages, help and documentation are plain English: phrases that readers had to read twice stay out.

The thing is the subject, not a pronoun; active voice; "expected X, got Y". Each entry is a pattern and what to write
instead. Add a phrase when a reader stumbles over it.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.tools import modules

PROJECT = Path(__file__).parents[3]

PHRASES = {
    r"\bha(s|ve) (it|them) not\b": "is not available",
    r"\b(is|are|was|were) wanted\b": "expected X, got Y",
    r"\bnobody\b": "no user, no flavour, …; or the passive voice",
    r"\bsomebody\b": "a user, another process, …",
    r"\bwhoever\b": "the caller, the user, …",
    r"\bbear(s)? with\b": "retry",
    r"\b(can|could) (not )?be had\b": "is not available",
    r"\bno \w+ \w+ can be had\b": "cannot allocate",
    r"\ba lie\b": "ambiguous, wrong",
    r"\blies? on each other\b": "overlap",
    r"\banother one than\b": "differs from",
    r"\b(is|are) told of\b": "knows",
    r"\b(is|are) none of\b": "expected one of …",
    r"\bis not what it (says|claims)\b": "is invalid",
    r"\bwhat is (there|here)\b": "the files present",
    r"\blook(s)? after\b": "manage",
    r"\btake(s)? along\b": "contain",
    r"\bheard of\b": "responds",
    r"\bought to\b": "should",
    r"\bbefalls?\b": "happens",
    r"\bgive (a|the) \w+ up\b": "fail",
    r"\bmakes no sense\b": "is invalid",
    r"\bwants?\b": "needs, expects, requires",
    r"\bfor so long\b": "for SECONDS",
    r"\bwell formed\b": "valid",
    r"\bas it always (did|was)\b": "say what it does",
    r"\bwhat was asked for\b": "the request",
    r"\bgo(es)? together\b": "are compatible",
    r"\bdoes not go\b": "does not work",
}
"""A regular expression, and a proposal."""

_PATTERN = re.compile("|".join(f"(?:{phrase})" for phrase in PHRASES), re.IGNORECASE)

PAGES = ("*.md", "flavours/*/flavour.yaml", "converters/*/converter.yaml")
HISTORY = ("docs/adr/",)
"""Records of decisions keep their words."""


OPEN_PAGES: frozenset[str] = frozenset()
"""Pages that still have such phrases. Remove a name once they are gone; add none."""

OPEN_FOLDERS: frozenset[str] = frozenset()
"""Folders of dibo that still have such phrases. Remove a name once they are gone; add none."""


def _files(*patterns: str) -> list[Path]:
    names = subprocess.run(["git", "ls-files", *patterns], cwd=PROJECT, capture_output=True, text=True).stdout
    return [PROJECT / name for name in names.split() if (PROJECT / name).is_file()]


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of each string of a module: messages, help, docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for number, line in enumerate(node.value.splitlines()):
                yield node.lineno + number, line


def phrases_in(lines: Iterator[tuple[int, str]]) -> list[str]:
    return [
        f"line {number}: {match[0]!r} in {line.strip()!r}"
        for number, line in lines
        for match in _PATTERN.finditer(line)
    ]


def test_pages_are_plain_english() -> None:
    pages = {str(page.relative_to(PROJECT)): page for page in _files(*PAGES)}
    assert len(pages) > 100
    phrases = {
        name: phrases_in(enumerate(page.read_text().splitlines(), start=1))
        for name, page in pages.items()
        if not name.startswith(HISTORY) and name not in OPEN_PAGES
    }
    assert {name: lines for name, lines in phrases.items() if lines} == {}


def test_messages_are_plain_english() -> None:
    phrases = {
        str(module.path): phrases_in(_texts(module.tree))
        for module in modules()
        if module.path.parts[0] not in OPEN_FOLDERS
    }
    assert {name: lines for name, lines in phrases.items() if lines} == {}


def test_no_open_page_or_folder_is_stale() -> None:
    """Names that are plain English by now leave the lists, or they would hide what comes later."""
    pages = {
        name
        for name in OPEN_PAGES
        if not phrases_in(enumerate((PROJECT / name).read_text().splitlines(), start=1))
    }
    folders = {
        name
        for name in OPEN_FOLDERS
        if not any(phrases_in(_texts(module.tree)) for module in modules() if module.path.parts[0] == name)
    }
    assert (pages, folders) == (set(), set())

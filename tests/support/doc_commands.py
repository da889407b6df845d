"""The commands that pages show: in indented blocks, in blocks of ```sh, ```bash and ```console, in YAML of recipes, and
in the text between backticks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.ci_recipes import PAGES as CI_PAGES
from tests.support.ci_recipes import commands as ci_commands
from tests.support.markdown import PROJECT

PROGRAMS = ("dibo", "disk-image-create", "ramdisk-image-create", "disk-image-get-kernel", "diskimage-builder")
_SHELL = ("sh", "bash", "console")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_SEPARATORS = {"|", "||", "&&", ";", "&", "(", ")"}
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True, slots=True, kw_only=True)
class DocCommand:
    """One simple command: its words, the variables before it, and the line that it is in, as the page has it."""

    page: str
    line: int
    text: str
    words: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()
    inline: bool = False
    paragraph: str = ""
    """The first word of the lines up to the next blank one: of a list of commands, a program."""

    @property
    def program(self) -> str:
        return Path(self.words[0]).name


def doc_pages() -> list[Path]:
    """The pages whose commands are checked."""
    top = [PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    shown = [PROJECT / "converters/README.md", *sorted((PROJECT / "flavours").glob("*/README.md"))]
    return [*top, *shown, *sorted((PROJECT / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(PROJECT))


def blocks(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Blocks of code: the number of the first line, the language or `""` where it is indented, the lines."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        fence = re.match(r"```(\w*)", line)
        if fence:
            end = next((n for n in range(number + 1, len(lines)) if lines[n].startswith("```")), len(lines))
            yield number + 2, fence[1] or "text", lines[number + 1 : end]
            number = end + 1
        elif re.match(r" {4,}\S", line) and (number == 0 or not lines[number - 1].strip()):
            end = number
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            indent = len(line) - len(line.lstrip())
            yield number + 1, "", [each[indent:] for each in lines[number:end]]
            number = end
        else:
            number += 1


def logical_lines(number: int, lines: list[str]) -> Iterator[tuple[int, str]]:
    """Lines with their continuations; a `$ ` in front goes."""
    begun, at = "", number
    for offset, line in enumerate(lines):
        if not begun:
            at = number + offset
        begun += line.removeprefix("$ ") if not begun else line.strip()
        if begun.endswith("\\"):
            begun = begun[:-1]
            continue
        yield at, begun
        begun = ""


def words_of(line: str) -> list[str] | None:
    """The words of a line of shell, with separators as words of their own; None for what is no shell."""
    lexer = shlex.shlex(re.sub(r"(^|\s)#\s.*", "", line), posix=True, punctuation_chars="|&;()")
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:
        return None


def simple_commands(line: str) -> Iterator[tuple[tuple[tuple[str, str], ...], tuple[str, ...]]]:
    """Variables and words of each simple command of a line; `sudo` and redirections go."""
    for words in _split(words_of(line) or []):
        variables = []
        while words and (match := _ASSIGNMENT.fullmatch(words[0])):
            variables.append((match[1], match[2]))
            words = words[1:]
        if words[:1] == ["sudo"]:
            words = words[1:]
        stop = next((n for n, word in enumerate(words) if re.match(r"\d?[<>]", word)), len(words))
        if words[:stop]:
            yield tuple(variables), tuple(words[:stop])


def _split(words: list[str]) -> Iterator[list[str]]:
    begun: list[str] = []
    for word in words:
        if word in _SEPARATORS:
            yield begun
            begun = []
        else:
            begun.append(word)
    yield begun


def commands(page: Path) -> Iterator[DocCommand]:
    """Every simple command in blocks of a page, whatever program it starts, and those of dibo in its text."""
    text = page.read_text()
    name = name_of(page)
    for number, language, lines in blocks(text):
        if language not in ("", *_SHELL):
            continue
        first = ""
        for at, line in logical_lines(number, lines):
            first = first if line.strip() else ""
            for variables, words in simple_commands(line):
                first = first or words[0]
                yield DocCommand(
                    page=name, line=at, text=line.strip(), words=words, variables=variables, paragraph=first
                )
    if page in CI_PAGES:
        for argv in ci_commands(page):
            yield DocCommand(page=name, line=0, text=shlex.join(argv), words=tuple(argv))
    yield from _inline(name, text)


def _inline(name: str, text: str) -> Iterator[DocCommand]:
    """Commands of dibo between backticks that have an argument, and no placeholder that is left out (`…`)."""
    for match in _INLINE.finditer(text):
        line = " ".join(match[1].split())
        number = text.count("\n", 0, match.start()) + 1
        for variables, words in simple_commands(line):
            if Path(words[0]).name in PROGRAMS and len(words) > 1 and "…" not in line:
                yield DocCommand(
                    page=name, line=number, text=line, words=words, variables=variables, inline=True
                )

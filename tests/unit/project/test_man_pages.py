"""The man pages are those of the parsers, and man(1) takes them without a warning.

Pages that differ are written anew by tools/man-pages, or: pytest tests/unit/project/test_man_pages.py --update-golden
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import pytest

from dibo.cli.commands import COMMANDS, PROGRAMS, parser_of
from tests.support.requirements import need
from tests.support.timeouts import TIMEOUT
from tests.support.tools import load_tool

PROJECT = Path(__file__).parents[3]
PAGES = PROJECT / "share" / "man" / "man1"
NAMES = ("dibo", *PROGRAMS, *(f"dibo-{name}" for name in COMMANDS))
TOOL = load_tool("man-pages")


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "100"}
    return subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=TIMEOUT, check=False)


def test_pages_are_those_of_the_parsers(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        TOOL.main()
    assert {path.name: path.read_text() for path in PAGES.iterdir()} == TOOL.pages()


def test_each_program_and_command_has_a_page() -> None:
    assert sorted(path.stem for path in PAGES.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_man_shows_the_page_without_warnings(name: str) -> None:
    need("man")
    done = run("man", "--local-file", "--warnings", "--encoding=UTF-8", str(PAGES / f"{name}.1"))
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout
    parser = parser_of(name) if name in ("dibo", *PROGRAMS) else None
    for action in parser._actions if parser is not None else ():
        assert all(option in text for option in action.option_strings)
    assert "EXIT STATUS" in text and "SEE ALSO" in text


@pytest.mark.parametrize("name", NAMES)
def test_the_name_section_is_one_that_whatis_reads(name: str) -> None:
    need("lexgrog")
    done = run("lexgrog", str(PAGES / f"{name}.1"))
    assert done.returncode == 0
    assert f': "{name} - ' in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_mandoc_finds_no_error(name: str) -> None:
    need("mandoc")
    done = run("mandoc", "-T", "lint", "-W", "error", str(PAGES / f"{name}.1"))
    assert (done.returncode, done.stdout) == (0, "")


def test_text_stays_text() -> None:
    assert TOOL.escaped(".TH - \\x 'a'") == "\\&.TH \\- \\ex \\(aqa\\(aq"


def test_an_option_without_a_page_is_noticed() -> None:
    parser = parser_of("disk-image-create")
    before = TOOL.command_page("disk-image-create", parser)
    parser.add_argument("--new", action="store_true", help="something new")
    assert TOOL.command_page("disk-image-create", parser) != before
    hidden = argparse.SUPPRESS
    parser.add_argument("--hidden", help=hidden)
    assert "hidden" not in TOOL.command_page("disk-image-create", parser)

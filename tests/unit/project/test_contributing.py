"""The steps of CONTRIBUTING.md name files and things that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.markdown import PROJECT

TEXT = (PROJECT / "CONTRIBUTING.md").read_text()
SECTIONS = dict(re.findall(r"^## (Add .+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
_TOP = r"(?:dibo|docs|tests|tools|flavours|converters|containerfiles|share)/"


def _code(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


def _places(section: str) -> list[Path]:
    """Files and folders that a section names, in code and in links."""
    named = [*_code(section), *re.findall(r"\]\(([^)#]+)\)", section)]
    paths = [path for words in named for path in re.findall(rf"(?<![\w/]){_TOP}[\w./-]*", words)]
    return [PROJECT / path for path in paths]


def test_design_goals_come_first() -> None:
    headings = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    assert headings[:3] == ["Design goals", "Rules", "Set up, check, test"]
    assert {"flavour", "converter", "source of images", "engine", "command"} <= {
        re.sub(r"Add an? ", "", name) for name in SECTIONS
    }


@pytest.mark.parametrize("name", SECTIONS)
def test_places_exist(name: str) -> None:
    places = _places(SECTIONS[name])
    assert places
    assert [str(path) for path in places if not path.exists()] == []


@pytest.mark.parametrize("name", SECTIONS)
def test_files_and_names_are_in_those_places(name: str) -> None:
    """A bare file name is one in a folder of the section; a name of code stands in one of its files."""
    places = _places(SECTIONS[name])
    files = {
        file for path in places for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()
    }
    texts = "".join(file.read_text() for file in files if file.suffix in (".py", ".md", ".yaml"))
    names = {file.name for file in files}
    words = {word for word in _code(SECTIONS[name]) if "NAME" not in word}
    bare = {word for word in words if re.fullmatch(r"[\w-]+\.(py|yaml|md)", word)}
    symbols = {word for word in words if re.fullmatch(r"[A-Z]\w{3,}|[a-z]+_[a-z_]+", word)}
    assert bare - names == set()
    assert {word for word in symbols if not re.search(rf"\b{word}\b", texts)} == set()


def test_tests_to_run_exist() -> None:
    named = re.findall(r'T="?((?:tests/\S+ ?)+)', TEXT)
    assert len(named) > 5
    paths = [path.strip('"`.') for words in named for path in words.split()]
    assert [path for path in paths if not (PROJECT / path).exists()] == []

"""codespell, as `make lint` runs it, finds misspellings and the words of tools/words, and leaves names alone."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.markdown import PROJECT
from tests.support.requirements import unmet


@pytest.fixture(autouse=True)
def needs_codespell() -> None:
    if importlib.util.find_spec("codespell_lib") is None:
        unmet("codespell is not installed: make setup")


def _answer(path: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "codespell_lib", str(path)]
    return subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("Each flavor is built.", "flavour"),
        ("It utilizes nothing; they utilize much.", "use"),
        ("A recieved layer.", "received"),
        ('"""The artifact of a converter."""', "artefact"),
        ('raise UsageError("the repo has no tag")', "repository"),
    ],
)
def test_words_that_are_not_used_are_found(tmp_path: Path, text: str, instead: str) -> None:
    (tmp_path / "page.md").write_text(text + "\n")
    answer = _answer(tmp_path / "page.md")
    assert answer.returncode != 0
    assert instead in answer.stdout


def test_names_of_others_are_let_be(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("`artifact`, `flavor` and initrd, `org.opencontainers.image.color`\n")
    answer = _answer(tmp_path / "page.md")
    assert (answer.returncode, answer.stdout) == (0, "")

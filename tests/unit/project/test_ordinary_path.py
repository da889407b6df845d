"""The PATH that Debian gives an ordinary user has no sbin directories, where mke2fs, sfdisk and losetup are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.requirements import need
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[3]
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"


def output(tmp_path: Path, *argv: str) -> str:
    """Of Python in the environment of an ordinary user."""
    environment = {"HOME": str(tmp_path), "PATH": PATH, "PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [sys.executable, *argv],
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    ).stdout


@pytest.mark.parametrize("program", ["mke2fs", "e2fsck", "losetup", "sfdisk"])
def test_dibo_finds_programs_in_sbin(program: str, tmp_path: Path) -> None:
    need(program)
    script = f"from dibo.system import process; print(process.find({program!r}))"
    assert output(tmp_path, "-c", script).strip().endswith(f"sbin/{program}")


def test_tests_find_programs_in_sbin(tmp_path: Path) -> None:
    need("mke2fs")
    tests = ["tests/unit/formats/ext4/test_reader.py", "-k", "test_files_and_directories_within_their_inodes"]
    assert "1 passed" in output(tmp_path, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests)

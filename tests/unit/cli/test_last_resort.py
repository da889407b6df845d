"""Defects of dibo: what is said, what the log has, and what it must not have."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dibo import errors
from dibo.cli.last_resort import report_defect

PROJECT = Path(__file__).parents[3]
FAILING = """
import os, sys
from dibo.api import schema as api
from dibo.cli.main import dibo
def fail(file):
    raise KeyError(file + os.environ.get("TEXT", ""))
api.schema = fail
sys.exit(dibo())
"""


def failing(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", FAILING, *(words or ("schema", "flavour"))],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PROJECT), "HOME": str(home), **environment},
    )


def test_a_defect_has_its_own_code_and_a_log_in_the_cache(tmp_path: Path) -> None:
    done = failing(tmp_path)
    (log,) = (tmp_path / ".cache" / "dibo" / "logs").iterdir()
    assert done.returncode == errors.Defect.exit_code
    first, second, *_ = done.stderr.splitlines()
    assert first == "dibo: error: a defect of dibo: KeyError: 'flavour'"
    assert second == f"  please report it to the developers of dibo, with {log}"
    assert "Traceback" not in done.stderr
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    text = log.read_text()
    assert "$ dibo schema flavour\n" in text
    assert "Traceback" in text and text.endswith("KeyError: 'flavour'\n")


def test_a_named_cache_directory_has_the_log(tmp_path: Path) -> None:
    failing(tmp_path, IMG_PATH=str(tmp_path / "named"))
    assert len([*(tmp_path / "named" / "logs").iterdir()]) == 1


def test_without_a_cache_directory_the_log_is_a_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    done = failing(Path("/proc/nonexistent"), TMPDIR=str(tmp_path / "tmp"))
    (log,) = (tmp_path / "tmp").iterdir()
    assert f"with {log}" in done.stderr
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_variables_that_dibo_does_not_know_are_masked(tmp_path: Path) -> None:
    done = failing(tmp_path, TEXT="of /srv, Xyzzy'2", DIBO_SIGN_PASSWORD="Xyzzy'2", LANG="C.UTF-8")
    (log,) = (tmp_path / ".cache" / "dibo" / "logs").iterdir()
    for text in (done.stderr, log.read_text()):
        assert "Xyzzy" not in text
        assert "flavour****" in text


def test_secrets_are_masked(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("plugh-in-the-cave\n")
    words = ["dibo", "build", "--secret", f"a={secret}", "--secret=b=plover", "--secret", "c=env:OTHER", "vm"]
    text = "plugh-in-the-cave https://user:hunter2@registry.example/ fee-fie"
    environment = {"OTHER": "fee-fie", "IMG_PATH": str(tmp_path / "cache")}
    try:
        raise ValueError(text)
    except ValueError as error:
        defect = report_defect(error, words, environment)
    (log,) = (tmp_path / "cache" / "logs").iterdir()
    for said in (defect.message, log.read_text()):
        for hidden in ("plugh", "plover", "hunter2", "fee-fie"):
            assert hidden not in said
        assert "**** https://****@registry.example/ ****" in said
    assert "--secret 'a=****' '--secret=b=****' --secret c=env:OTHER vm" in log.read_text()


def test_an_incomplete_installation_leaves_the_message_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dibo.build.secrets", None)
    try:
        raise ValueError("plugh")
    except ValueError as error:
        defect = report_defect(error, ["dibo"], {"IMG_PATH": str(tmp_path / "cache")})
    (log,) = (tmp_path / "cache" / "logs").iterdir()
    assert defect.message == "a defect of dibo: ValueError"
    assert "test_last_resort.py" in log.read_text() and '("plugh")' in log.read_text()


def test_a_parser_that_fails_is_a_defect_too(tmp_path: Path) -> None:
    program = "from dibo.cli import commands\ncommands.COMMANDS = None\n" + FAILING
    done = subprocess.run(
        [sys.executable, "-c", program, "flavours"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PROJECT), "HOME": str(tmp_path)},
    )
    assert done.returncode == errors.Defect.exit_code
    assert "Traceback" not in done.stderr

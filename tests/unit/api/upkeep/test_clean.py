"""`dibo clean` without an engine that works: the cache directory is cleaned, and the rest is said."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.api.json_schema import JSON_SCHEMA
from dibo.artefacts.standing import StandingArtefacts
from dibo.build.cleaning import GRACE_SECONDS
from dibo.cli.main import dibo
from dibo.system.exclusive import shared
from dibo.system.workspace import Workspace
from tests.support.host.installed_dibo import installed_dibo
from tests.support.schemas import validate
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.slow


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache directory with what a killed run, a failed step and an old download leave; no engine is installed."""
    root = Workspace(tmp_path / "cache").root
    monkeypatch.setenv("IMG_PATH", str(root))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    (root / "store.lock").touch()
    run = root / "runs/20260101000000-00000000"
    run.mkdir()
    (run / "lock").touch()
    (run / "large").write_bytes(bytes(1 << 20))
    past = time.time() - GRACE_SECONDS - 60
    for path in (root / "logs/old.log", root / f"bases/sha256-{'1' * 64}-root.tar"):
        path.write_bytes(bytes(100_000))
        os.utime(path, (past, past))
    (root / f"bases/sha256-{'2' * 64}-root.tar").write_bytes(bytes(100_000))
    (root / f"keys/{'a' * 64}.json").write_text("{}")
    yield root
    assert not list((root / "runs").glob("2*")), "neither the killed run nor that of the command is left"


def document(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, dict[str, int]]:
    assert dibo(["clean", "--json", *words]) == code
    answer = json.loads(capsys.readouterr().out)
    validate(answer, JSON_SCHEMA)
    assert answer["document"] == "clean"
    return {row["kind"]: row for row in answer["kinds"]} | {"": answer}


def test_what_is_of_no_use_goes_and_the_engine_is_named(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = document(capsys)
    assert {kind: row["count"] for kind, row in answer.items() if kind} == {
        "runs": 1,
        "downloads": 1,
        "logs": 1,
    }
    assert answer["runs"]["size"] >= 1 << 20
    assert "buildah" in str(answer[""]["kept"])
    assert [path.name for path in (cache / "bases").iterdir()] == [f"sha256-{'2' * 64}-root.tar"]
    assert list((cache / "keys").iterdir()), "nothing says that no engine has the layer"


def test_a_dry_run_changes_nothing(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(cache.rglob("*"))
    answer = document(capsys, "--dry-run")
    assert answer["runs"]["count"] == 1 and not answer[""]["removed"]
    assert sorted(cache.rglob("*")) == before
    assert dibo(["clean", "--dry-run"]) == 0
    assert "would free" in capsys.readouterr().out
    dibo(["clean"])


def test_while_a_build_runs_its_files_stay(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with shared(cache / "store.lock"):
        answer = document(capsys, "--all")
    assert set(answer) == {"", "runs", "logs"}
    assert "another dibo" in str(answer[""]["kept"])


def test_all(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cache / "kit").mkdir()
    (cache / "kit/index.json").touch()
    document(capsys, "--all")
    left = {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()}
    assert left <= {"CACHEDIR.TAG", "store.lock", "runs.lock"}


def test_records_of_artefacts_that_changed(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of names in another directory, and relative ones."""
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    for name in ("stands.raw", "changed.raw", "gone.raw"):
        Path(name).write_bytes(b"disk")
        StandingArtefacts(directory=cache / "artefacts", ingredients={}, paths=[Path(name)]).save()
    (cache / "artefacts/broken.json").write_text('{"files": []}')
    Path("changed.raw").write_bytes(b"other")
    Path("gone.raw").unlink()
    monkeypatch.chdir("/")
    answer = document(capsys)
    assert answer["artefacts"]["count"] == 3
    monkeypatch.chdir(tmp_path / "out")
    standing = StandingArtefacts(directory=cache / "artefacts", ingredients={}, paths=[Path("stands.raw")])
    assert standing.stand()
    assert len(list((cache / "artefacts").iterdir())) == 1
    assert Path("changed.raw").exists()


def test_an_engine_that_was_asked_for_and_does_not_work(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert document(capsys, "--engine", "buildah", code=41)["runs"]["count"] == 1
    assert cache.is_dir()


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    "words",
    [("--all", "--keep-size", "1"), ("--keep-size", "much"), ("--older-than", "x"), ("--engine", "none")],
)
def test_what_cannot_be(words: tuple[str, ...]) -> None:
    assert dibo(["clean", *words]) == 2
    dibo(["clean"])


def test_nothing_is_made_where_nothing_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dibo(["clean", "--cache-dir", str(tmp_path / "none"), "--dry-run"]) == 0
    assert not (tmp_path / "none").exists()
    assert dibo(["clean", "--cache-dir", str(tmp_path)]) == 2
    assert "CACHEDIR.TAG" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="runs the command as another user, which takes root")
def test_files_of_root_are_named() -> None:
    """As after `sudo dibo`: the cache is the user's, the logs are not."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        _try_as_another_user(Path(directory))


def _try_as_another_user(home: Path) -> None:
    root = Workspace(home / "cache").root
    (root / "logs/old.log").touch()
    os.utime(root / "logs/old.log", (0, 0))
    for path in (home, root, *root.iterdir()):
        if path.name != "logs":
            os.chown(path, 12345, 12345)
    (root / "logs").chmod(0o755)
    argv = [
        "setpriv",
        "--reuid",
        "12345",
        "--regid",
        "12345",
        "--clear-groups",
        str(installed_dibo() / "dibo"),
        "clean",
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "IMG_PATH": str(root)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=TIMEOUT, cwd="/")
    assert done.returncode == 52, done.stderr
    assert "belongs to the user root" in done.stderr

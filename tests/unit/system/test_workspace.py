"""dibo's own directories: tagged, whole outputs, and cleaning up after a run that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dibo.errors import OutputError
from dibo.system.workspace import Workspace
from tests.unit.system.test_process import alive, read_pid


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs leave DIBO_RUN in the environment of their process."""
    monkeypatch.setenv("DIBO_RUN", "")


def test_the_cache_is_tagged_and_others_are_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "cache"
    Workspace(root)
    assert (root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
    assert {path.name for path in root.iterdir() if path.is_dir()} >= {"bases", "logs", "runs"}
    (root / "logs" / "kept").write_text("")
    Workspace(root)
    assert (root / "logs" / "kept").exists()


def test_a_cache_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot use .*file as the cache: Not a directory") as caught:
        Workspace(tmp_path / "file")
    assert "--cache-dir" in caught.value.hint
    with pytest.raises(OutputError, match="as the cache"):
        Workspace(Path("/proc/no/such"))


def test_a_cache_that_cannot_be_written_any_more(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    (tmp_path / "runs.lock").mkdir()  # root may write into any directory, but not into this
    with pytest.raises(OutputError, match="as the cache: Is a directory"), workspace.run():
        pass


def test_a_run_s_directory_goes_with_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with workspace.run() as run:
        one, other = run.subdirectory("x"), run.subdirectory("x")
        assert one != other
        assert one.parent == other.parent == run.directory
        assert os.environ["DIBO_RUN"] == run.identity
    assert list((tmp_path / "runs").iterdir()) == []
    with pytest.raises(RuntimeError), workspace.run():
        raise RuntimeError
    assert list((tmp_path / "runs").iterdir()) == []


def test_two_runs_at_once_leave_each_other_alone(tmp_path: Path) -> None:
    with Workspace(tmp_path).run() as one:
        (one.subdirectory("x") / "file").write_text("")
        with Workspace(tmp_path).run() as other:
            assert other.identity != one.identity
        assert (one.directory / "01-x" / "file").exists()


def test_an_output_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "web.raw"
    target.write_text("old")
    with Workspace(tmp_path / "cache").run() as run:
        with run.output(target) as part:
            part.write_text("new")
            assert part.parent == tmp_path
            assert target.read_text() == "old"
        assert target.read_text() == "new"
        assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["web.raw"]


@pytest.mark.parametrize(
    "error", [RuntimeError(), KeyboardInterrupt(), OSError(28, "No space left on device")]
)
def test_an_output_appears_not_at_all(tmp_path: Path, error: BaseException) -> None:
    wanted = OutputError if isinstance(error, OSError) else type(error)
    with (
        pytest.raises(wanted) as caught,
        Workspace(tmp_path / "cache").run() as run,
        run.output(tmp_path / "web.raw") as part,
    ):
        part.write_text("half")
        raise error
    assert not isinstance(error, OSError) or "No space left" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_an_output_where_none_can_be(tmp_path: Path) -> None:
    with Workspace(tmp_path / "cache").run() as run:
        with (
            pytest.raises(OutputError, match="No such file or directory") as caught,
            run.output(tmp_path / "no" / "x"),
        ):
            pass
        assert "-o" in caught.value.hint
        (tmp_path / "taken").mkdir()
        with pytest.raises(OutputError, match="Is a directory"), run.output(tmp_path / "taken"):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "taken"]


PROGRAM = """
import os, sys, time
from pathlib import Path
from dibo.system.process import Process
from dibo.system.workspace import Workspace
cache, output, pid = map(Path, sys.argv[1:])
with Workspace(cache).run() as run, run.output(output) as part:
    (run.subdirectory("context") / "file").write_text("x")
    run.container()
    part.write_text("half")
    Process(["sh", "-c", 'setsid sh -c "exec env -u DIBO_RUN sleep 1000" & setsid sleep 1000 & echo $! > "$1"; wait',
             "sh", str(pid)])
    time.sleep(1000)
"""


@pytest.fixture
def killed(tmp_path: Path) -> tuple[Path, int]:
    """A cache in which a run was killed half-way, and a process that it started."""
    cache, pid = tmp_path / "cache", tmp_path / "pid"
    argv = [sys.executable, "-c", PROGRAM, str(cache), str(tmp_path / "web.raw"), str(pid)]
    with subprocess.Popen(argv) as dibo:
        left = read_pid(pid)
        dibo.kill()
        assert dibo.wait() == -signal.SIGKILL
    assert alive(left)
    return cache, left


def test_a_killed_run_is_cleaned_by_the_next(tmp_path: Path, killed: tuple[Path, int]) -> None:
    cache, left = killed
    (half,) = tmp_path.glob(".web.raw.*.part")
    (directory,) = (cache / "runs").iterdir()
    (tmp_path / "web.raw").write_text("an older one")
    removed: list[str] = []
    with Workspace(cache).run(sweepers={"container": removed.append}):
        assert not half.exists()
        assert not directory.exists()
        assert removed == [f"dibo-{directory.name}-2"]
        assert not alive(left)
    assert (tmp_path / "web.raw").read_text() == "an older one"
    assert list((cache / "runs").iterdir()) == []


def test_processes_of_others_live_on(killed: tuple[Path, int], tmp_path: Path) -> None:
    cache, _ = killed
    environment = {**os.environ, "DIBO_RUN": "20200101000000-00000000"}
    with subprocess.Popen(["sleep", "100"], env=environment) as stranger:
        with Workspace(cache).run():
            assert stranger.poll() is None
        stranger.kill()

"""dibo's own directories: tagged, whole outputs, and cleaning up after a run that was killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dibo.errors import Interrupted, OutputError
from dibo.system.signals import interruptible
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


def test_a_signal_while_a_run_begins_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path / "cache")

    def stop(lock: object, operation: int) -> None:
        if list((workspace.root / "runs").iterdir()):  # the directory is made, and its lock is next
            raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr("fcntl.flock", stop)
    with pytest.raises(Interrupted), workspace.run():
        pass
    assert list((workspace.root / "runs").iterdir()) == []


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
    assert not isinstance(error, OSError) or "the disk is full: " in str(caught.value)
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


# What a journal is believed


def run_of(cache: Path, records: list[object], *, identity: str = "20260101000000-0a1b2c3d") -> Path:
    """A run that was killed, as its journal tells."""
    Workspace(cache)
    directory = cache / "runs" / identity
    directory.mkdir(mode=0o700)
    (directory / "lock").touch()
    (directory / "journal").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return directory


@pytest.mark.parametrize(
    "line_break", ["\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r", "\udce9"], ids=ascii
)
def test_a_path_with_a_line_break_removes_no_other_file(tmp_path: Path, line_break: str) -> None:
    (tmp_path / "precious").mkdir()
    precious = tmp_path / "precious" / "o"
    precious.write_text("x")
    output = Path(f"{tmp_path}/a{line_break}file {precious}{line_break}/o")
    output.parent.mkdir(parents=True)
    program = """
import os, signal, sys
from pathlib import Path
from dibo.system.workspace import Workspace
with Workspace(Path(sys.argv[1])).run() as run, run.output(Path(sys.argv[2])), run.scratch():
    os.kill(os.getpid(), signal.SIGKILL)
"""
    temporary = Path(f"{tmp_path}/t{line_break}tree {tmp_path / 'precious'}{line_break}x")
    temporary.mkdir(parents=True)
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "cache"), str(output)],
        env={**os.environ, "TMPDIR": str(temporary)},
        check=False,
        capture_output=True,
    )
    assert list(output.parent.glob(".o.*.part"))
    assert list(temporary.iterdir())
    with Workspace(tmp_path / "cache").run():
        pass
    assert precious.read_text() == "x"
    assert not list(output.parent.glob(".o.*.part"))
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    "record",
    [["tree", "{victim}"], ["file", "{victim}/file"], ["container", "web"], ["docker", "unix:///x web"]],
)
def test_a_journal_that_no_run_wrote_removes_nothing(tmp_path: Path, record: list[str]) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("x")
    directory = run_of(tmp_path / "cache", [[word.format(victim=victim) for word in record], "no record", 7])
    removed: list[str] = []
    with Workspace(tmp_path / "cache").run(sweepers={"container": removed.append, "docker": removed.append}):
        pass
    assert (victim / "file").exists()
    assert removed == []
    assert not directory.exists()


def test_what_the_next_run_removes(tmp_path: Path) -> None:
    identity = "20260101000000-0a1b2c3d"
    half = tmp_path / f".web.raw.{identity}.part"
    half.write_text("")
    scratch = tmp_path / f"dibo-{identity}-3"
    scratch.mkdir()
    run_of(
        tmp_path / "cache", [["file", str(half)], ["tree", str(scratch)], ["container", f"dibo-{identity}-4"]]
    )
    removed: list[str] = []
    with Workspace(tmp_path / "cache").run(sweepers={"container": removed.append}):
        pass
    assert not half.exists()
    assert not scratch.exists()
    assert removed == [f"dibo-{identity}-4"]


def test_a_run_that_others_could_write_to_is_left_alone(tmp_path: Path) -> None:
    half = tmp_path / ".web.raw.20260101000000-0a1b2c3d.part"
    half.write_text("")
    directory = run_of(tmp_path / "cache", [["file", str(half)]])
    directory.chmod(0o777)
    with Workspace(tmp_path / "cache").run():
        pass
    assert half.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_cache_that_somebody_else_prepared(tmp_path: Path) -> None:
    half = tmp_path / ".web.raw.20260101000000-0a1b2c3d.part"
    half.write_text("")
    cache = tmp_path / "cache"
    directory = run_of(cache, [["file", str(half)]])
    os.chown(directory, 12345, 12345)
    with Workspace(cache).run():
        pass
    assert half.exists()
    os.chown(cache / "runs", 12345, 12345)
    with pytest.raises(
        OutputError, match=r"cannot use .*runs as the cache: it belongs to the user with id 12345"
    ):
        Workspace(cache)
    os.chown(cache / "runs", 0, 0)
    os.chown(cache, 12345, 12345)
    with pytest.raises(OutputError, match="it belongs to the user with id 12345"):
        Workspace(cache)


def test_the_cache_is_for_its_user_alone(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before = os.umask(0)
    try:
        (cache / "logs").mkdir(parents=True)
        with Workspace(cache).run() as run:
            modes = {
                path.name: path.stat().st_mode & 0o777 for path in (cache, *cache.iterdir()) if path.is_dir()
            }
            assert run.directory.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(
        ("cache", "archives", "bases", "fetched", "keys", "logs", "runs", "unpacked"), 0o700
    )


def test_a_signal_while_secrets_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove, memory = shutil.rmtree, tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr("dibo.system.workspace.memory_directory", lambda: memory)

    def interrupted(directory: Path, *, ignore_errors: bool) -> None:
        signal.raise_signal(signal.SIGTERM)
        remove(directory, ignore_errors=ignore_errors)

    monkeypatch.setattr("shutil.rmtree", interrupted)
    workspace = Workspace(tmp_path / "cache")
    after: list[str] = []
    with pytest.raises(Interrupted) as caught, interruptible(), workspace.run() as run:
        with run.in_memory() as directory:
            (directory / "token").write_text("secret")
        after.append("the signal did not count")
    assert caught.value.signum == signal.SIGTERM
    assert [*memory.iterdir(), *(workspace.root / "runs").iterdir(), *after] == []


def test_a_signal_before_secrets_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its place does not remove, the end of the run does."""
    workspace_module, memory = sys.modules["dibo.system.workspace"], tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr(workspace_module, "memory_directory", lambda: memory)
    remove = workspace_module.remove_tree

    def interrupted(directory: Path) -> None:
        monkeypatch.setattr(workspace_module, "remove_tree", remove)
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr(workspace_module, "remove_tree", interrupted)
    workspace = Workspace(tmp_path / "cache")
    with pytest.raises(Interrupted), workspace.run() as run, run.in_memory() as directory:
        (directory / "token").write_text("secret")
    assert [*memory.iterdir(), *(workspace.root / "runs").iterdir()] == []


def test_what_cannot_be_removed_is_left_to_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr("dibo.system.workspace.memory_directory", lambda: memory)
    workspace = Workspace(tmp_path / "cache")
    remove = sys.modules["dibo.system.workspace"].remove_tree
    with monkeypatch.context() as patch:
        patch.setattr(
            "dibo.system.workspace.remove_tree", lambda path: None if path.parent == memory else remove(path)
        )
        with workspace.run() as run, run.in_memory() as directory:
            (directory / "token").write_text("secret")
        with workspace.run() as other:
            assert (workspace.root / "runs" / run.identity / "journal").exists()
    assert directory.exists()
    with workspace.run():
        assert not directory.exists()
    assert other.identity != run.identity
    assert list((workspace.root / "runs").iterdir()) == []


def test_a_journal_with_what_is_no_name_stops_no_run(tmp_path: Path) -> None:
    record: list[object] = [
        ["file", str(tmp_path / ".a\0b.20260101000000-0a1b2c3d-1.part")],
        ["file", "/\ud800"],
    ]
    directory = run_of(tmp_path / "cache", record)
    with Workspace(tmp_path / "cache").run():
        pass
    assert not directory.exists()

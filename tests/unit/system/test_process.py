"""The door to other programs: how they end, what they say, and that nothing of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dibo.errors import CommandFailed, ToolMissing
from dibo.system import process, signals
from dibo.system.process import (
    PIPE,
    Process,
    ProcessOptions,
    Streams,
    clean_environment,
    describe_exit,
    find,
    run,
)
from tests.support.timeouts import TIMEOUT, wait_until

pytestmark = pytest.mark.slow


def sh(script: str, *arguments: str) -> list[str]:
    return ["sh", "-c", script, "sh", *arguments]


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def read_pid(path: Path) -> int:
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"), f"{path} is written")
    return int(path.read_text())


def test_both_streams_come_in_order() -> None:
    lines: list[str] = []
    done = run(
        sh("for n in 1 2 3; do echo out $n; echo err $n >&2; done; printf last"),
        streams=Streams(on_output=lines.append),
    )
    assert lines == ["out 1", "err 1", "out 2", "err 2", "out 3", "err 3", "last"]
    assert done.tail == tuple(lines)
    assert done.stdout == ""


def test_captured_output_is_apart_from_messages() -> None:
    lines: list[str] = []
    done = run(sh("echo answer; echo note >&2"), capture=True, streams=Streams(on_output=lines.append))
    assert (done.stdout, lines, done.tail) == ("answer\n", ["note"], ("note",))


def test_bytes_that_are_no_text() -> None:
    lines: list[str] = []
    run(sh(r"printf 'a\377b\r\n'"), streams=Streams(on_output=lines.append))
    assert lines == ["a�b"]


def test_a_line_without_an_end_is_told_in_pieces() -> None:
    lines: list[str] = []
    run(sh("head -c 5000000 /dev/zero | tr '\\0' x; echo; echo end"), streams=Streams(on_output=lines.append))
    assert max(map(len, lines)) == 1 << 20
    assert sum(map(len, lines)) == 5_000_003
    assert lines[-1] == "end"


def test_what_a_listener_raises_ends_the_run_and_not_the_reading() -> None:
    def fail(line: str) -> None:
        raise ValueError(line)

    script = "echo first; head -c 1000000 /dev/zero | tr '\\0' '\\n'"
    with pytest.raises(ValueError, match="first"):
        run(sh(script), streams=Streams(on_output=fail), options=ProcessOptions(timeout=TIMEOUT))


def test_input_larger_than_a_pipe() -> None:
    data = os.urandom(300_000).hex().encode()
    assert run(["cat"], streams=Streams(stdin=data), capture=True).stdout == data.decode()


def test_input_that_nobody_reads() -> None:
    assert run(["true"], streams=Streams(stdin=b"x" * 1_000_000)).returncode == 0


def test_no_input_is_no_terminal() -> None:
    assert run(["cat"], capture=True, options=ProcessOptions(timeout=TIMEOUT)).stdout == ""


def test_output_to_a_file(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        run(sh("echo out; echo err >&2"), streams=Streams(stdout=file))
    assert (tmp_path / "out").read_text() == "out\n"


def test_the_tail_is_the_last_lines() -> None:
    with pytest.raises(CommandFailed) as caught:
        run(sh("seq 100; exit 3"))
    assert caught.value.tail == tuple(str(n) for n in range(81, 101))
    assert caught.value.returncode == 3
    assert caught.value.message == "sh ended with exit code 3: 100"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 1", "ended with exit code 1"),
        ("exit 128", "ended with exit code 128"),
        ("no-such-command-here", "ended with 127: a command in it was not found"),
        ("/etc/passwd", "ended with 126: something in it is not executable"),
        ("kill -9 $$", "was killed by SIGKILL"),
        ("sh -c 'kill -15 $$'; exit $?", "ended with 143: something in it was killed by SIGTERM"),
    ],
)
def test_how_a_process_ends(script: str, says: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        run(sh(script))
    assert caught.value.message.startswith(f"sh {says}")
    assert run(sh(script), check=False).returncode == caught.value.returncode


def test_signals_without_a_name() -> None:
    assert describe_exit(-77) == "was killed by signal 77"


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(ToolMissing, match=r"^no-such-tool is not installed$") as caught:
        run(["no-such-tool"], check=False)
    assert "put it on PATH" in caught.value.hint


def test_a_tool_of_dibo_s_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(process, "_with_sbin", lambda path: path)
    with pytest.raises(ToolMissing) as caught:
        run(["qemu-img"])
    assert "apt-get install qemu-utils" in caught.value.hint


def test_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tool").write_text("")
    (tmp_path / "directory").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find("tool") is None
    assert find("directory") is None
    (tmp_path / "tool").chmod(0o755)
    assert find("tool") == str(tmp_path / "tool")
    assert find(str(tmp_path / "tool")) == str(tmp_path / "tool")


# What children get to see


def test_children_get_a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SECRET": "1",
        "LC_ALL": "de_DE.UTF-8",
        "http_proxy": "http://x",
        "HOME": "/h",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    lines = run(["env"], env={"ASKED": "for"}, capture=True).stdout.splitlines()
    seen = dict(line.split("=", 1) for line in lines)
    assert {"SECRET", "LC_ALL", "http_proxy"}.isdisjoint(seen)
    assert (seen["LANG"], seen["HOME"], seen["ASKED"], seen["SOURCE_DATE_EPOCH"]) == (
        "C.UTF-8",
        "/h",
        "for",
        "7",
    )
    assert "/usr/sbin" in seen["PATH"].split(":")


def test_no_path_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    assert clean_environment()["PATH"].startswith("/usr/local/bin:/usr/bin:/bin:")


def test_only_named_descriptors_are_passed_on() -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        assert run(sh('[ -e "/proc/self/fd/$1" ]', str(writer)), check=False).returncode == 1
        assert (
            run(
                sh('[ -e "/proc/self/fd/$1" ]', str(writer)), options=ProcessOptions(pass_fds=[writer])
            ).returncode
            == 0
        )
    finally:
        os.close(reader)
        os.close(writer)


# Nothing is left


DAEMON = 'setsid sh -c \'echo $$ > "$1"; exec sleep 1000\' sh "$1" > /dev/null 2>&1 &'


def test_a_daemon_in_a_session_of_its_own_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    run(sh(DAEMON + ' while [ ! -s "$1" ]; do sleep 0.01; done', str(pid)))
    assert not alive(read_pid(pid))


def test_a_daemon_that_holds_the_pipe_does_not_hold_us(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    begun = time.monotonic()
    run(
        sh(
            'sh -c \'echo $$ > "$1"; exec sleep 1000\' sh "$1" & while [ ! -s "$1" ]; do sleep 0.01; done',
            str(pid),
        )
    )
    assert time.monotonic() - begun < TIMEOUT
    assert not alive(read_pid(pid))


def test_a_timeout_ends_it_and_what_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with Process(sh(DAEMON + " sleep 1000", str(pid))) as running:
        daemon = read_pid(pid)
        with pytest.raises(CommandFailed, match=r"sh did not end within 0.1 s"):
            running.wait(timeout=0.1)
        assert not alive(running.pid) and not alive(daemon)
    with pytest.raises(CommandFailed, match=r"sleep did not end within 0.1 s"):
        run(["sleep", "1000"], options=ProcessOptions(timeout=0.1))


def test_what_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.3)
    with Process(
        sh("trap '' TERM; echo ready; while :; do sleep 0.1; done"), streams=Streams(stdout=PIPE)
    ) as running:
        assert running.stdout.readline() == b"ready\n"
    assert not alive(running.pid)


def test_leaving_the_block_early_ends_it() -> None:
    with pytest.raises(RuntimeError), Process(["sleep", "100"]) as running:
        raise RuntimeError
    assert not alive(running.pid)


def test_two_at_once_leave_each_other_alone(tmp_path: Path) -> None:
    """A converter that ends must not take the tar that feeds it along."""
    with Process(sh("sleep 0.3; echo fed"), streams=Streams(stdout=PIPE)) as feeder:
        run(["true"])
        assert alive(feeder.pid)
        assert run(["cat"], streams=Streams(stdin=feeder.stdout), capture=True).stdout == "fed\n"
        assert feeder.wait() == 0


PROGRAM = """
import sys
from dibo.errors import Interrupted
from dibo.system.process import run
from dibo.system.signals import interruptible
try:
    with interruptible():
        run(["sh", "-c", sys.argv[1], "sh", *sys.argv[2:]])
except Interrupted as stop:
    sys.exit(100 + stop.signum)
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(tmp_path: Path, signum: signal.Signals) -> None:
    pid = tmp_path / "pid"
    argv = [sys.executable, "-c", PROGRAM, DAEMON + " sleep 1000", str(pid)]
    with subprocess.Popen(argv) as dibo:
        daemon = read_pid(pid)
        dibo.send_signal(signum)
        assert dibo.wait(TIMEOUT) == 100 + signum
    assert not alive(daemon)


FORGOTTEN = """
import os, signal, subprocess, sys
from dibo.errors import Interrupted
from dibo.system.signals import interruptible
try:
    with interruptible():
        child = subprocess.Popen(["sh", "-c", "sleep 1000 & echo $! > $1; wait", "sh", sys.argv[1]])
        signal.pause()
except Interrupted as stop:
    sys.exit(100 + stop.signum)
"""


def test_a_child_that_was_just_being_started_is_ended(tmp_path: Path) -> None:
    """A signal may come before anything remembers the child."""
    pid = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", FORGOTTEN, str(pid)]) as dibo:
        child = read_pid(pid)
        dibo.send_signal(signal.SIGTERM)
        assert dibo.wait(TIMEOUT) == 100 + signal.SIGTERM
    assert not alive(child)


def test_after_the_block_signals_are_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with signals.interruptible():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_commands_are_logged_as_one_could_type_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="dibo.system.process")
    run(["echo", "two words", "it's"])
    assert caplog.messages == ["echo 'two words' 'it'\"'\"'s'"]

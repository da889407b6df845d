"""One process at a time, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from dibo.system.exclusive import exclusive
from tests.support.timeouts import TIMEOUT, wait_until

HOLDER = """
import sys, time
from pathlib import Path
from dibo.system.exclusive import exclusive
with exclusive(Path(sys.argv[1]), "key", on_wait=print):
    print("held", flush=True)
    sys.stdin.read()
"""
COUNTER = """
import sys
from pathlib import Path
from dibo.system.exclusive import exclusive
directory, number = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(100):
    with exclusive(directory, "key", on_wait=lambda _: None):
        number.write_text(str(int(number.read_text()) + 1))
"""


def holder(directory: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", HOLDER, str(directory)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_nobody_else_holds_it(tmp_path: Path) -> None:
    with exclusive(tmp_path / "locks", "key", on_wait=lambda _: None) as waited:
        assert not waited
    assert list((tmp_path / "locks").iterdir()) == []


def test_who_waits_says_for_whom_and_goes_on_when_that_one_is_killed(tmp_path: Path) -> None:
    waits: list[str] = []
    with holder(tmp_path) as process:
        pid = os.fork()
        if pid == 0:  # kills the holder once this process is seen to wait
            wait_until(lambda: _waits(os.getppid()), "a wait")
            os.kill(process.pid, signal.SIGKILL)
            os._exit(0)
        with exclusive(tmp_path, "key", on_wait=waits.append) as waited:
            assert waited
        os.waitpid(pid, 0)
    assert len(waits) == 1
    assert waits[0].startswith(f"process {process.pid} (")


def _waits(pid: int) -> bool:
    """Whether a process waits in flock(2), by /proc/locks: a line with an arrow."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and f" {pid} " in line for line in lines)


def test_other_names_do_not_wait(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with exclusive(tmp_path, "another", on_wait=lambda _: None) as waited:
            assert not waited
        process.kill()


def test_no_two_at_a_time(tmp_path: Path) -> None:
    number = tmp_path / "number"
    number.write_text("0")
    argv = [sys.executable, "-c", COUNTER, str(tmp_path / "locks"), str(number)]
    processes = [subprocess.Popen(argv) for _ in range(4)]
    assert [process.wait(TIMEOUT) for process in processes] == [0, 0, 0, 0]
    assert number.read_text() == "400"

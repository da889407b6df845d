"""The workers of a `dibo bake` that runs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from dibo.system import process
from tests.support.timeouts import TIMEOUT


def worker_of(command: int) -> int:
    """The worker that the command with this process id has started, once there is one."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        for pid, (parent, _, _) in process.process_table().items():
            if parent == command and b"dibo.api.baking.worker" in _command_line(pid):
                return pid
        time.sleep(0.01)
    raise AssertionError("no worker runs")


def continue_when_sent(pid: int, signum: int) -> None:
    """Let a process that is stopped go on when it has been sent a signal; proc_pid_status(5), ShdPnd. It is gone where
    whoever sent it let it go on as well."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            (pending,) = [line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd:")]
            if int(pending, 16) >> (signum - 1) & 1:
                os.kill(pid, signal.SIGCONT)
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.01)
    raise AssertionError(f"the process was not sent signal {signum}")


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended
        return b""

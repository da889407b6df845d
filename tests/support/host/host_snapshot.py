"""What a machine shows of loop devices, mounts, mappings, processes and files: the same before and after."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dibo.system import process
from tests.support.host.host_state import processes
from tests.support.timeouts import TIMEOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSnapshot:
    loops: tuple[str, ...]
    mounts: tuple[str, ...]
    mappings: str
    processes: tuple[str, ...]
    files: tuple[str, ...]


def host_snapshot(mark: Path) -> HostSnapshot:
    """What there is now; of loop devices, mounts, processes and files what has `mark`, a directory, in its path,
    environment or arguments: other tests have theirs.
    """
    return HostSnapshot(
        loops=tuple(
            line for line in _said("losetup", "-l", "--noheadings").splitlines() if f"{mark}/" in line
        ),
        mounts=tuple(line for line in Path("/proc/mounts").read_text().splitlines() if f"{mark}/" in line),
        mappings=_said("dmsetup", "ls"),
        processes=tuple(processes(mark)),
        files=tuple(
            sorted(str(path) for path in mark.rglob("*") if ".part" in path.name or "/runs/" in str(path))
        ),
    )


def settled_snapshot(before: HostSnapshot, mark: Path) -> HostSnapshot:
    """What there is when it is as before; or, since the kernel takes its time, at the end of the timeout."""
    deadline = time.monotonic() + TIMEOUT
    while (now := host_snapshot(mark)) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    return now


def attached(directory: Path) -> bool:
    """Whether a loop device stands for a file below `directory`."""
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if path.read_text().startswith(str(directory)):
                return True
    return False


def _said(*argv: str) -> str:
    done = subprocess.run(_found(argv), capture_output=True, text=True)
    return f"{done.stdout}{done.stderr}{done.returncode}"


def _found(argv: Sequence[str]) -> list[str]:
    return [process.find(argv[0]) or argv[0], *argv[1:]]

"""What a machine shows of loop devices, mounts, mappings, processes and files: the same before and after."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dibo import process

SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    loops: str
    mounts: str
    mappings: str
    processes: tuple[str, ...]
    files: tuple[str, ...]


def traces(mark: Path) -> Traces:
    """What there is now; of processes and files what has `mark`, a directory, in its environment, arguments or path."""
    return Traces(
        loops=_said("losetup", "-l", "--noheadings"),
        mounts=Path("/proc/mounts").read_text(),
        mappings=_said("dmsetup", "ls"),
        processes=_processes(os.fsencode(mark)),
        files=tuple(
            sorted(str(path) for path in mark.rglob("*") if ".part" in path.name or "/runs/" in str(path))
        ),
    )


def settled(before: Traces, mark: Path) -> Traces:
    """What there is when it is as before; or, since the kernel takes its time and others have loop devices too, after
    half a minute."""
    deadline = time.monotonic() + SECONDS
    while (now := traces(mark)) != before and time.monotonic() < deadline:
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


def _processes(mark: bytes) -> tuple[str, ...]:
    found = []
    for pid in process.process_table():
        with contextlib.suppress(OSError):
            seen = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline")]
            if seen[1] and pid != os.getpid() and any(mark in each for each in seen):
                found.append(seen[1].replace(b"\0", b" ").decode(errors="replace"))
    return tuple(sorted(found))

"""What a command of dibo must leave on the host as it found it.

Other programs run meanwhile, other tests among them, so processes and loop devices count where they bear a mark: a
path that the command alone was told of, in its environment or arguments. Mounts count all but those in directories of
other tests and of other runs of dibo: root's buildah mounts its store there, and mmdebstrap its tree. A command that
root runs therefore has its TMPDIR below the mark.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from pathlib import Path

from dibo.system import process

_OF_TESTS = re.compile(r"(/var)?/tmp/(dibo-lab-|dibo-test-|pytest-of-|dibo-\d)")


def host_state(mark: Path) -> tuple[str, ...]:
    """Mounts; and loop devices of files below `mark`, and processes whose environment or arguments name it."""
    mounts = [line for line in sorted(Path("/proc/mounts").read_text().splitlines()) if _counts(line, mark)]
    argv = ["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"]
    # Not by dibo's own door, which ends orphans: they are what is looked for.
    loops = subprocess.run(argv, capture_output=True, text=True).stdout.splitlines()
    return (*mounts, *(line for line in loops if f" {mark}/" in line), *processes(mark))


def _counts(mount: str, mark: Path) -> bool:
    """Whether a line of /proc/mounts may be of the command's making."""
    where = mount.split()[1]
    return where.startswith(f"{mark}/") or not _OF_TESTS.match(where)


def processes(mark: Path) -> list[str]:
    """Commands that run with `mark` in their environment or arguments."""
    wanted = os.fsencode(mark)
    found = []
    for pid in process.process_table():
        with contextlib.suppress(OSError):
            seen = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline")]
            if seen[1] and pid != os.getpid() and any(wanted in each for each in seen):
                found.append(seen[1].replace(b"\0", b" ").decode(errors="replace"))
    return sorted(found)


def new_on_host(mark: Path, before: tuple[str, ...]) -> list[str]:
    """What was not there before."""
    return sorted(set(host_state(mark)) - set(before))

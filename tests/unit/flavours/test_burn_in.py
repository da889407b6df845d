"""What the burn-in makes of how badblocks ends. Booted ramdisks show the rest (tests/boot)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.markdown import PROJECT
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.slow

STOPPED = """trap 'printf "\\nInterrupted at block 7\\n"; exit 1' TERM
echo pattern
while :; do sleep 0.1; done
"""
AROUND = """share=1
get_kernel_parameter() { echo vda; }
partition_exists() { :; }
prepend_dev() { echo "/dev/$1"; }
is_removable() { false; }
disks() { echo vda; }
say() { :; }
result() { echo "$1 $2"; }
"""


@pytest.mark.parametrize(
    ("program", "passed"),
    [
        ("echo 'Pass completed, 0 bad blocks found. (0/0/0 errors)'", "true"),
        ("echo 4711; echo 'Pass completed, 1 bad blocks found. (1/0/0 errors)'", "false"),
        (STOPPED, "true"),
        (f"echo 4711\n{STOPPED}", "false"),
        ("while :; do sleep 0.1; done", "true"),
        ("echo 'badblocks: Permission denied while trying to open /dev/vda'; exit 1", "false"),
    ],
    ids=["sound", "bad", "stopped", "stopped after a bad block", "killed", "cannot"],
)
def test_disks(tmp_path: Path, program: str, passed: str) -> None:
    """One that is stopped because its time is over has passed if it found nothing until then."""
    init = (PROJECT / "flavours" / "hwburnin" / "init").read_text()
    functions = "whole_disks() {" + init.partition("whole_disks() {")[2].partition("\ntry_memory\n")[0]
    badblocks = tmp_path / "badblocks"
    badblocks.write_text(f"#!/bin/sh\n{program}\n")
    badblocks.chmod(0o755)
    script = f"PATH={tmp_path}:$PATH\n{AROUND}{functions}\ntry_disks\n".replace("/run/dibo", str(tmp_path))
    argv = ["busybox", "sh", "-c", f'timeout() {{ busybox timeout "$@"; }}\n{script}']
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.stdout == f"disk /dev/vda {passed}\n", done.stderr

"""What a command left is seen, whoever else works on this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.host.host_state import host_state, new_on_host, processes
from tests.support.timeouts import wait_until


def test_a_process_that_was_left_is_seen_and_a_stranger_is_not(tmp_path: Path) -> None:
    before = host_state(tmp_path / "mine")
    known = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "mine")}
    strange = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "other")}
    with (
        subprocess.Popen(["sleep", "1000"], env=strange) as stranger,
        subprocess.Popen(["sleep", "1001"], env=known) as left,
    ):
        wait_until(lambda: processes(tmp_path / "mine"), "the process is there under its name")
        found = new_on_host(tmp_path / "mine", before)
        stranger.kill()
        left.kill()
    assert found == ["sleep 1001 "]

"""What `disk-image-create` refuses, and what it leaves when it is killed, before an engine is asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dibo import errors
from dibo.artefacts.converter import converters_of
from dibo.settings.settings import Options, decide
from tests.support.flavours import write_flavour
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[3]
HOOK = """#!/bin/sh
echo $$ >> "$TMPDIR/pids"
sleep 300 &
echo $! >> "$TMPDIR/pids"
setsid sh -c 'sleep 300 & echo $! >> "$TMPDIR/pids"' > /dev/null 2>&1
touch "$TMPDIR/ready"
sleep 300
"""


def program(entry: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; from dibo.cli.main import {entry}; sys.exit({entry}())"]


def environment(directory: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "PYTHONPATH": str(PROJECT),
        "FLAVOURS_DIR": str(directory / "flavours"),
        "IMG_PATH": str(directory / "cache"),
    }


def create(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program("disk_image_create"), *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=directory,
        env=environment(directory),
    )


def test_children_of_a_hook_go_with_the_run_that_was_killed(tmp_path: Path) -> None:
    write_flavour(tmp_path / "flavours", "sized", {"block-device-size.d/10-size": HOOK})
    running = subprocess.Popen(
        [*program("disk_image_create"), "--no-base", "sized"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env=environment(tmp_path),
    )
    try:
        deadline = time.monotonic() + TIMEOUT
        while not (tmp_path / "ready").exists():
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        running.kill()
        running.wait()
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 3
    assert [pid for pid in pids if _lives(pid)] == pids
    try:
        done = subprocess.run(
            [*program("disk_image_get_kernel"), "--list", "no-such-image"],
            capture_output=True,
            timeout=TIMEOUT,
            cwd=tmp_path,
            env=environment(tmp_path),
        )
        assert done.returncode == errors.DiskImageError.exit_code
        assert [pid for pid in pids if _lives(pid)] == []
    finally:
        for pid in filter(_lives, pids):
            os.kill(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            "--fs-type xfs vm",
            errors.LayoutError,
            "--fs-type is xfs, and the layout makes the partition root ext4",
        ),
        ("--fs-type zfs vm", errors.LayoutError, "cannot make the file system 'zfs'"),
        ("--fs-type zfs -t tar vm", errors.LayoutError, "cannot make the file system 'zfs'"),
        ("-o no/web vm", errors.OutputError, "no does not exist"),
        ("-o \udcff vm", errors.UsageError, "is not UTF-8"),
    ],
)
def test_what_is_refused_before_anything_is_done(
    tmp_path: Path, arguments: str, kind: type[errors.DiboError], message: str
) -> None:
    (tmp_path / "flavours").mkdir()
    done = create(tmp_path, "--no-base", *arguments.split())
    assert done.returncode == kind.exit_code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_hook_on_the_host_that_can_never_run_is_refused_with_its_line(tmp_path: Path) -> None:
    hook = "#!/bin/sh\r\necho IMAGE_SIZE=1\r\n"
    write_flavour(tmp_path / "flavours", "sized", {"block-device-size.d/10-size": hook})
    done = create(tmp_path, "--no-base", "sized")
    assert done.returncode == errors.FlavourError.exit_code
    assert "block-device-size.d/10-size of the flavour 'sized', line 1: it ends in CRLF" in done.stderr


@pytest.mark.parametrize(
    ("options", "variables", "expected"),
    [
        (Options(name="web"), {}, ["qcow2"]),
        (Options(name="web.raw.zst"), {}, ["raw.zst"]),
        (Options(name="web.raw", types="vhd,vdi"), {}, ["vhd", "vdi"]),
        (Options(name="web.raw"), {"IMAGE_TYPE": "tar"}, ["tar"]),
        (Options(), {"IMAGE_NAME": "web.tar"}, ["tar"]),
    ],
)
def test_the_ending_of_the_name_is_the_type(
    options: Options, variables: dict[str, str], expected: list[str]
) -> None:
    """Unless a type is given."""
    settings = decide(options, variables, now=datetime.now(UTC), machine="x86_64", home=Path("/nonexistent"))
    assert [converter.type for converter in converters_of(settings)] == expected

"""`dibo doctor` names what a machine forbids, and says that converting needs none of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dibo import errors
from tests.support import user
from tests.support.host import confine
from tests.support.host.build_env import CommandResult, busybox_root
from tests.support.host.installed_dibo import installed_dibo
from tests.support.requirements import need, unmet
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.integration

UNKNOWN = 61_234


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that every user can write to, with a base and what takes privileges away."""
    if os.geteuid() != 0:
        unmet("only root can give up what root has")
    need("buildah", "busybox", "newuidmap")
    made = user.directory_of(user.ordinary_user())
    made.chmod(0o1777)
    busybox_root(made / "base.tar")
    shutil.copy(confine.__file__, made / "confine.py")
    yield made
    shutil.rmtree(made)


def doctor(place: Path, around: Sequence[str], **variables: str) -> CommandResult:
    argv = [sys.executable, "-I", str(place / "confine.py"), *around, "--", str(installed_dibo() / "dibo")]
    environment = {"PATH": os.environ["PATH"], "XDG_DATA_HOME": str(place), "IMG_PATH": f"{place}/cache"}
    done = subprocess.run(
        [*argv, "doctor", "--base", f"{place}/base.tar"],
        capture_output=True,
        text=True,
        env=environment | variables,
        cwd="/",
        timeout=TIMEOUT,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return CommandResult(code=done.returncode, out=done.stdout, err=done.stderr)


def missing(said: CommandResult) -> list[str]:
    return [line[4:].partition(":")[0] for line in said.out.splitlines() if line.startswith("NO ")]


def test_seccomp_that_forbids_namespaces(place: Path) -> None:
    said = doctor(place, ["--id", str(UNKNOWN), "--no-containers"], HOME=str(place))
    assert said.code == errors.EngineError.exit_code
    assert "unshare(CLONE_NEWUSER): unshare: unshare failed: Operation not permitted" in said.out
    assert "seccomp" in said.out
    assert said.out.startswith("ok  converting, by dibo convert: no privilege and no program is needed\n")
    assert "`dibo convert` needs none of that" in said.err


def test_a_user_without_subordinate_ids(place: Path) -> None:
    said = doctor(place, ["--id", "65534"], HOME=str(place))
    assert missing(said)[0] == "subordinate ids"
    assert "usermod --add-subuids" in said.out
    assert "ok  unshare(CLONE_NEWUSER)" in said.out


def test_an_id_without_a_name_or_a_home(place: Path) -> None:
    said = doctor(place, ["--id", str(UNKNOWN)])
    assert said.code == errors.EngineError.exit_code
    assert said.out.startswith("ok  converting, by dibo convert")


def test_root_in_a_container_without_mounts(place: Path) -> None:
    said = doctor(place, ["--no-containers"], HOME="/root")
    assert missing(said)[0] == "unshare(CLONE_NEWNS), as root"
    assert "mount of an overlay, native" in missing(said)

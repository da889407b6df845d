"""An image without a kernel boots with a kit, straight into its program: converted without an engine or privileges."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.errors import CommandFailed
from tests.boot.conftest import BUILD_SECONDS
from tests.support import user
from tests.support.images.application_images import PORT, application
from tests.support.machines.direct_boot import TOOLS, DirectMachine
from tests.support.requirements import need
from tests.support.timeouts import TIMEOUT, wait_until

pytestmark = [pytest.mark.boot, pytest.mark.long]


@pytest.fixture(scope="module")
def kit() -> Iterator[Path]:
    """The layout of a kit on Debian, built by an ordinary user. DIBO_BOOT_KIT names one that is there already."""
    need(*TOOLS)
    if given := os.environ.get("DIBO_BOOT_KIT"):
        yield Path(given)
        return
    need("buildah", "newuidmap", "mmdebstrap")
    builder = user.need_ordinary_user()
    directory = user.directory_of(builder)
    directory.chmod(0o755)
    try:
        try:
            user.run_as(
                builder,
                "dibo",
                ["build", "--kit", "cloud", "-o", str(directory / "kit")],
                timeout=BUILD_SECONDS,
            )
        except CommandFailed as error:
            pytest.fail("\n".join(error.tail), pytrace=False)
        yield directory / "kit"
    finally:
        shutil.rmtree(directory)


def converted(image: Path, kit: Path, tmp_path: Path, name: str = "disk") -> Path:
    """A raw disk, with no program on PATH."""
    argv = [user.program("dibo"), "convert", f"oci:{image}", "--kit", f"oci:{kit}", "-t", "raw"]
    argv += ["-o", str(tmp_path / name), "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        argv, capture_output=True, text=True, env={"PATH": "/nonexistent"}, timeout=BUILD_SECONDS
    )
    assert done.returncode == 0, done.stderr
    return tmp_path / f"{name}.raw"


def from_disk(disk: Path, directory: Path) -> DirectMachine:
    """Booted by the BIOS and GRUB of the disk."""
    return DirectMachine(None, None, cmdline="", directory=directory, disks=[disk], ports=[PORT])


def test_an_application(kit: Path, tmp_path: Path) -> None:
    """By the disk's own boot loader: its words, its user, its directory, its variables, its volume. It answers, and the
    power button stops it by its own signal, and then the machine."""
    disk = converted(application(tmp_path / "image"), kit, tmp_path)
    with from_disk(disk, tmp_path) as machine:
        machine.wait_for("app: it's $(reboot) `two words` as 1234:1234 in /srv/new/place")
        machine.wait_for("GREETING=a 'quoted' \"word\"; reboot\n")
        machine.wait_for("app: odd.name=1\n")
        machine.wait_for("app: nothing in /data\n")
        wait_until(lambda: "hello from localhost" in answer(machine), "the application answers")
        machine.monitor.execute("system_powerdown")
        machine.wait_for("app: told to stop\n")
        machine.wait_until_off()


def answer(machine: DirectMachine) -> str:
    """What the application serves; empty as long as it does not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{machine.port(PORT)}/", timeout=TIMEOUT) as page:
            return str(page.read().decode())
    except OSError:
        return ""

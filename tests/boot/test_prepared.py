"""A root that somebody else made boots: `dibo convert` makes its boot files, and nothing of it runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.errors import CommandFailed
from tests.boot.conftest import BUILD_SECONDS
from tests.support import user
from tests.support.machines.qemu import TOOLS, Machine
from tests.support.requirements import need
from tests.support.timeouts import wait_until

pytestmark = pytest.mark.boot

FLAVOURS = Path(__file__).parent / "flavours"
IMAGE = "localhost/somebodys-root"


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """A qcow2 made of an image with a kernel and GRUB, by an ordinary user."""
    need(*TOOLS, "buildah", "newuidmap", "mmdebstrap")
    builder = user.need_ordinary_user()
    directory = user.directory_of(builder)
    stack = ["--no-base", "--base", "debian", "--flavours-path", str(FLAVOURS), "somebodys-root"]
    try:
        try:
            user.run_as(builder, "dibo", ["build", "--tag", IMAGE, *stack], timeout=BUILD_SECONDS)
            output = str(directory / "disk")
            no_engine = ["--engine", "docker"]  # which is not there
            convert = ["convert", f"containers-storage:{IMAGE}", "-o", output, *no_engine]
            user.run_as(builder, "dibo", convert, timeout=BUILD_SECONDS)
        except CommandFailed as error:
            pytest.fail("\n".join(error.tail), pytrace=False)
        yield directory / "disk.qcow2"
    finally:
        shutil.rmtree(directory)


def test_it_boots_to_its_login_with_host_keys_of_its_own(disk: Path, tmp_path: Path) -> None:
    with Machine(disk, directory=tmp_path) as machine:
        machine.wait_for_console("login:")
        # The kernel says it: what systemd writes to a console goes lost when a login takes that console over.
        key = re.compile(r"host key: 256 SHA256:\S{43} ")
        wait_until(lambda: key.search(machine.console_text()), "sshd has a host key")
        assert "Failed to start" not in machine.console_text()

"""A disk of elements of diskimage-builder, `base` among them: built by an ordinary user, it boots to its login with the
command line that DIB_BOOTLOADER_* ask for."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.errors import CommandFailed
from tests.boot.conftest import BUILD_SECONDS
from tests.support import dib, user
from tests.support.machines.qemu import TOOLS, Machine
from tests.support.requirements import need

pytestmark = [pytest.mark.boot, pytest.mark.long]

NAMES = ("vm", "debian-minimal")
PATIENCE = "systemd.default_device_timeout_sec=900"
"""For the serial port, on an emulated machine beside others."""


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """A qcow2 whose layout is that of the element block-device-mbr, which `vm` stands on."""
    need(*TOOLS, "buildah", "newuidmap", "mmdebstrap")
    builder = user.need_ordinary_user()
    directory = user.directory_of(builder)
    directory.chmod(0o755)
    variables = {
        "ELEMENTS_PATH": str(dib.unpack(directory / "dib")),
        "DIB_RELEASE": "trixie",
        "DIB_GRUB_TIMEOUT": "1",
        "DIB_BOOTLOADER_DEFAULT_CMDLINE": f"{PATIENCE} of.the.test",
    }
    output = str(directory / "disk.qcow2")
    try:
        try:
            user.run_as(
                builder,
                "disk-image-create",
                ["-o", output, *NAMES],
                timeout=BUILD_SECONDS,
                environment=variables,
            )
        except CommandFailed as error:
            pytest.fail("\n".join(error.tail), pytrace=False)
        yield directory / "disk.qcow2"
    finally:
        shutil.rmtree(directory)


@dib.needs_wheel
def test_it_boots_to_its_login_with_the_command_line_that_was_asked_for(disk: Path, tmp_path: Path) -> None:
    with Machine(disk, directory=tmp_path) as machine:
        machine.wait_for_console("login:")
        line = re.search(r"Command line: (.*)", machine.console_text())
        assert line is not None
        words = line[1].split()
        assert words[2:] == [
            *("ro", "console=tty0", "console=ttyS0,115200", "no_timer_check"),
            *(PATIENCE, "of.the.test"),
        ]
        assert words[1].startswith("root=PARTUUID=")
        assert "Failed to start" not in machine.console_text()

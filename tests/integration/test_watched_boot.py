"""`dibo boot --watch` with real machines of a few instructions: what takes a boot, and how files get in."""

from __future__ import annotations

import io
import os
import tarfile
import threading
import time
from pathlib import Path

import pytest

from dibo.api.machines.boot import BootOutputs
from dibo.api.machines.request import BootRequest
from dibo.api.settings import current_settings
from dibo.api.watching.boot import WatchedBoot, follow
from dibo.errors import HookFailed
from dibo.machines.accelerator import TCG
from dibo.machines.boards import BOARDS, FirmwareKind
from dibo.machines.live_update import LiveUpdate, apply_update
from dibo.machines.machine import FirmwareFiles, MachineDisk, VirtualMachine
from dibo.machines.running import started
from dibo.machines.ssh import SshAccess, wait_for_login
from dibo.machines.steps import parse_steps
from dibo.settings.settings import Options
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from tests.support.flavours import write_flavour
from tests.support.machines.boot_sector import HALT, POWER_OFF, boot_disk
from tests.support.requirements import need
from tests.support.servers.sshd import sshd

pytestmark = pytest.mark.integration

SH = "#!/bin/sh\n"


def test_a_disk_that_changed_is_booted_anew(tmp_path: Path) -> None:
    """An error of a build is shown, and the machine goes on; it ends the command when it ends by itself."""
    need("qemu-system-x86_64")
    hook = write_flavour(tmp_path / "flavours", "web", {"install.d/10-web": SH}) / "install.d/10-web"
    image, stream, shown = tmp_path / "disk.raw", io.StringIO(), bytearray()
    texts = [("first", HALT), None, ("second", POWER_OFF)]
    builds: list[str] = []

    def build() -> None:
        disk = texts[len(builds)]
        builds.append(hook.read_text())
        if disk is None:
            raise HookFailed("10-web ended with 1")
        new = boot_disk(tmp_path / "new.raw", f"{disk[0]}\n", disk[1])
        new.replace(image)

    def edit() -> None:
        """Whenever the watch waits."""
        for number in (1, 2):
            while stream.getvalue().count("watching for changes") < 1 or len(builds) < number:
                time.sleep(0.1)
            hook.write_text(f"{SH}: {number}\n")

    options = Options(
        flavours=("web",),
        with_base=False,
        flavours_path=(str(tmp_path / "flavours"),),
        cache_dir=str(tmp_path / "cache"),
    )
    settings = current_settings(options, {})
    request = BootRequest(
        image=str(image),
        accelerator="tcg",
        seed=False,
        steps=parse_steps([{"expect": "first|second"}]),
        timeout=60,
    )
    editor = threading.Thread(target=edit)
    editor.start()
    with Workspace(settings.cache).run() as run:
        follow(
            WatchedBoot(settings=settings, request=request, image=image, build=build),
            run,
            Report(stream, environment={}),
            BootOutputs(on_console=shown.extend),
        )
    editor.join()
    said = stream.getvalue()
    assert [text.count("\n") for text in builds] == [1, 2, 2]
    assert "error: 10-web ended with 1" in said
    assert "changed: web/install.d/10-web" in said
    assert said.count("booting anew") == 1
    assert b"first" in shown and b"second" in shown
    assert "the machine has ended" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="the server logs root in")
def test_files_get_in_over_ssh(tmp_path: Path) -> None:
    """To a server of this machine, in the place of the guest's: the paths are those of this test."""
    need("qemu-system-x86_64", "ssh")
    motd = tmp_path / "motd"
    motd.write_text("hello\n")
    path, packed = str(motd).lstrip("/"), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo(path)
        member.size = 8
        archive.addfile(member, io.BytesIO(b"changed\n"))
    machine = VirtualMachine(
        name="web",
        board=BOARDS["amd64"],
        machine="q35",
        accelerator=TCG,
        processors=1,
        memory=64,
        firmware=FirmwareFiles(kind=FirmwareKind.BIOS),
        disks=(MachineDisk(path=boot_disk(tmp_path / "disk", "up\n"), format="raw", serial="root"),),
    )
    with (
        sshd(tmp_path, owner=os.geteuid()) as (port, _),
        started(machine, directory=tmp_path, on_console=lambda _: None, timeout=60) as running,
    ):
        access = SshAccess(
            port=port, user="root", key=tmp_path / "user", known_hosts=tmp_path / "hosts_of_machine"
        )
        wait_for_login(running, access)
        result = apply_update(running, access, LiveUpdate(archive=packed.getvalue(), paths=(path,)))
    assert result.code == 0, result.output
    assert motd.read_text() == "changed\n"

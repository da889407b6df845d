"""Ramdisks, booted by QEMU: the deployment protocol from the machine's side to the disk, and what goes wrong.

One ramdisk, of Debian's kernel and the flavour deploy, serves all tests. DIBO_BOOT_RAMDISK names one that is there
already (its kernel beside it), for work on the tests themselves.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from dibo.errors import CommandFailed
from dibo.ramdisk.make import kernel_path
from tests.support import user
from tests.support.direct import SERVER, TOOLS, DirectMachine, FormServer
from tests.support.parts import need, unmet

pytestmark = pytest.mark.boot

BUILD_SECONDS = 1800.0
IQN = "iqn.2026-11.example.dibo:machine-7"
KEY = "open-sesame"
PARAMETERS = (
    f"iscsi_target_iqn={IQN} deployment_id=7 deployment_key={KEY} boot_server={SERVER} finish=poweroff"
)


@pytest.fixture(scope="session")
def ramdisk() -> Iterator[Path]:
    """`deploy` on Debian, built by a user who is not root."""
    need(*TOOLS)
    if given := os.environ.get("DIBO_BOOT_RAMDISK"):
        yield Path(given)
        return
    need("buildah", "newuidmap", "mmdebstrap")
    try:
        builder = user.ordinary_user()
    except user.NoOrdinaryUser as error:
        unmet(str(error))
    directory = user.directory_of(builder)
    try:
        output = directory / "deploy.ramdisk"
        options = ["-o", str(output), "--base", "debian"]
        try:
            user.run_as(builder, "ramdisk-image-create", [*options, "deploy"], timeout=BUILD_SECONDS)
        except CommandFailed as error:
            pytest.fail("\n".join(("ramdisk-image-create failed:", *error.tail)), pytrace=False)
        yield output
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.truncate(512 << 20)
    return path


def test_a_deployment(ramdisk: Path, disk: Path, tmp_path: Path) -> None:
    """The server writes over iSCSI; the machine hears that it is done, and ends."""
    need("qemu-img")
    if "iscsi" not in subprocess.run(["qemu-img", "--help"], capture_output=True, text=True).stdout:
        unmet("qemu-img knows no iSCSI; install it: sudo apt-get install qemu-block-extra")
    image = tmp_path / "image.raw"
    image.write_bytes(random.Random(7).randbytes(16 << 20))

    def deploy(form: Mapping[str, str]) -> None:
        target = f"iscsi://127.0.0.1:{machine.port(3260)}/{form['n']}/1"
        subprocess.run(
            ["qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", str(image), target], check=True
        )
        with socket.create_connection(("127.0.0.1", machine.port(10000))) as word:
            word.sendall(b"done")

    with (
        FormServer(work=deploy) as server,
        DirectMachine(
            kernel_path(ramdisk),
            ramdisk,
            cmdline=f"disk=cciss/c0d0,sda,vda {PARAMETERS}",
            directory=tmp_path,
            disks=[disk],
            server=(10000, server.port),
            ports=[3260, 10000],
        ) as machine,
    ):
        machine.wait_for("/dev/vda is written")
        machine.wait_until_off()
    assert server.failures == []
    assert server.bodies == [f"i=7&k={KEY}&a=10.0.2.15&n={IQN}"]  # as the form always was, byte for byte
    with disk.open("rb") as written:
        assert written.read(16 << 20) == image.read_bytes()
    assert KEY not in machine.text


def test_a_server_that_refuses_and_a_shell_for_whoever_is_there(
    ramdisk: Path, disk: Path, tmp_path: Path
) -> None:
    with (
        FormServer(status=400) as server,
        DirectMachine(
            kernel_path(ramdisk),
            ramdisk,
            cmdline=f"disk=vda {PARAMETERS}",
            directory=tmp_path,
            disks=[disk],
            server=(10000, server.port),
        ) as machine,
    ):
        machine.wait_for(f"FAILED: deploy: the boot server {SERVER} refused this machine")
        machine.wait_for("a shell is open on: ttyS0")
        machine.wait_for("/ # ")
        machine.type("echo shell-$((6 * 7)); grep -c . /run/dibo/log; env | grep -c open-sesame")
        machine.wait_for("shell-42")
        machine.type("exit")
        machine.wait_until_off()
    assert len(server.forms) == 1
    assert KEY not in machine.text.replace("grep -c open-sesame", "")


def test_no_such_disk_is_told_to_the_server(ramdisk: Path, tmp_path: Path) -> None:
    with (
        FormServer() as server,
        DirectMachine(
            kernel_path(ramdisk),
            ramdisk,
            cmdline=f"disk=sdz,nvme9n1 troubleshoot=off {PARAMETERS}",
            directory=tmp_path,
            server=(10000, server.port),
        ) as machine,
    ):
        machine.wait_for("FAILED: deploy: none of these disks is there: sdz,nvme9n1")
        machine.wait_until_off()
    assert [form["e"] for form in server.forms] == ["none of these disks is there: sdz,nvme9n1"]
    assert "a shell is open" not in machine.text

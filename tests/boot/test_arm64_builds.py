"""`vm`, `deploy` and `hwdiscovery` for arm64: built here, where an emulator runs each program of a step, and booted.

Such builds take the better part of an hour; layers of a former run are taken from the engine's store. DIBO_BOOT_ARM64
names a directory with what was made before.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from dibo.errors import CommandFailed
from dibo.ramdisk.make import kernel_path
from tests.support import user
from tests.support.machines.direct_boot import SERVER, DirectMachine, FormServer
from tests.support.machines.emulation import BOOT_SECONDS, need_firmware
from tests.support.machines.qemu import Firmware, Machine, tools_for
from tests.support.requirements import need, unmet

pytestmark = [pytest.mark.boot, pytest.mark.long]

BUILD_SECONDS = 6 * 3600.0
IQN = "iqn.2026-11.example.dibo:machine-7"
PARAMETERS = f"iscsi_target_iqn={IQN} deployment_id=7 deployment_key=k boot_server={SERVER} finish=poweroff"


@contextmanager
def built(command: str, name: str, *flavours: str) -> Iterator[Path]:
    """What an ordinary user builds."""
    need(*tools_for("arm64"), "buildah", "newuidmap", "mmdebstrap", "arch-test", "qemu-aarch64-static")
    need_firmware(Firmware.UEFI, "arm64")
    if given := os.environ.get("DIBO_BOOT_ARM64"):
        yield Path(given) / name
        return
    builder = user.need_ordinary_user()
    directory = user.directory_of(builder)
    try:
        output = directory / name
        options = ["-o", str(output), "-a", "arm64", "--base", "debian"]
        environment = {"DIBO_KERNEL": "vm"}  # the same as that of `metal`, without firmware for devices
        try:
            user.run_as(
                builder, command, [*options, *flavours], timeout=BUILD_SECONDS, environment=environment
            )
        except CommandFailed as error:
            pytest.fail("\n".join((f"{command} failed:", *error.tail)), pytrace=False)
        yield output
    finally:
        shutil.rmtree(directory)


def test_a_disk(tmp_path: Path) -> None:
    with (
        built("disk-image-create", "vm.qcow2", "vm") as disk,
        Machine(disk, directory=tmp_path, architecture="arm64", grow_to="6G") as machine,
    ):
        machine.wait_for_console("login:", timeout=2 * BOOT_SECONDS)
        console = machine.console_text()
    assert "Failed to start" not in console
    assert "ttyAMA0" in console


def test_a_deployment(tmp_path: Path) -> None:
    """Over iSCSI, by a server that writes some random bytes."""
    need("qemu-img", "busybox")
    if "iscsi" not in subprocess.run(["qemu-img", "--help"], capture_output=True, text=True).stdout:
        unmet("qemu-img knows no iSCSI; install it: sudo apt-get install qemu-block-extra")
    image, disk = tmp_path / "image.raw", tmp_path / "disk.raw"
    image.write_bytes(random.Random(7).randbytes(16 << 20))
    with disk.open("wb") as file:
        file.truncate(64 << 20)

    def deploy(form: Mapping[str, str]) -> None:
        target = f"iscsi://127.0.0.1:{machine.port(3260)}/{form['n']}/1"
        argv = ["qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", str(image), target]
        subprocess.run(argv, check=True)
        with socket.create_connection(("127.0.0.1", machine.port(10000))) as word:
            word.sendall(b"done")

    with (
        built("ramdisk-image-create", "deploy.ramdisk", "deploy") as ramdisk,
        FormServer(work=deploy) as server,
        DirectMachine(
            kernel_path(ramdisk),
            ramdisk,
            architecture="arm64",
            cmdline=PARAMETERS,
            directory=tmp_path,
            disks=[disk],
            server=(10000, server.port),
            ports=[3260, 10000],
        ) as machine,
    ):
        machine.wait_for("/dev/vda is written")
        machine.wait_until_off()
    assert server.failures == []
    with disk.open("rb") as written:
        assert written.read(16 << 20) == image.read_bytes()


def test_an_inventory(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    with (
        built("ramdisk-image-create", "hwdiscovery.ramdisk", "hwdiscovery") as ramdisk,
        DirectMachine(
            kernel_path(ramdisk),
            ramdisk,
            architecture="arm64",
            cmdline="finish=poweroff",
            directory=tmp_path,
            disks=[disk],
            processors=2,
        ) as machine,
    ):
        machine.wait_for("-----END INVENTORY-----")
        machine.wait_until_off()
    text = machine.text.partition("-----BEGIN INVENTORY-----\n")[2].partition("-----END INVENTORY-----")[0]
    inventory = json.loads(text)
    assert [each["name"] for each in inventory["disks"]] == ["/dev/vda"]
    assert inventory["disks"][0]["size"] == 64 << 20
    (interface,) = inventory["interfaces"]
    assert (interface["link"], interface["driver"]) == (True, "virtio_net")
    assert inventory["cpu"]["threads"] == 2
    assert inventory["firmware"] == "uefi"
    assert inventory["dmi"]["sys_vendor"] == "QEMU"

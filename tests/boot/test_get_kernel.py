"""The image boots by the kernel and the ramdisk that disk-image-get-kernel takes out of it, without its boot loader.

All of it; test_persistent_state.py boots another one in part.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.cli import main
from dibo.machines.machine import DirectKernel
from tests.boot.conftest import TOKEN
from tests.support.machines.cloud_init_seed import make_seed
from tests.support.machines.qemu import Machine

pytestmark = [pytest.mark.boot, pytest.mark.long]

QUESTIONS = {
    "cmdline": "cat /proc/cmdline",
    "root": "findmnt -no LABEL /",
    "kernel": "uname -r",
    "modules": "lsmod | grep -c virtio",
}


def test_it_boots_from_outside(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMG_PATH", str(tmp_path / "cache"))
    options = ["-d", str(tmp_path), "-o", "probe", "--cmdline"]
    assert main.disk_image_get_kernel([*options, str(image)]) == 0
    words, pair = capsys.readouterr().out.splitlines()
    kernel, ramdisk = pair.split(",")
    assert (kernel, ramdisk) == (f"{tmp_path}/probe-vmlinuz", f"{tmp_path}/probe-initrd")
    assert main.disk_image_get_kernel(["--list", str(image)]) == 0
    version = capsys.readouterr().out.split()[0]
    seed = make_seed(tmp_path / "seed", hostname="probe-direct", files=[(TOKEN, "\n")])
    direct = DirectKernel(kernel=Path(kernel), initrd=Path(ramdisk), arguments=words)
    with Machine(image, directory=tmp_path / "machine", seed=seed, kernel=direct, name="direct") as machine:
        machine.wait_until_up()
        answers = {name: text.strip() for name, text in machine.ask(QUESTIONS).items()}
    assert answers["cmdline"] == words  # GRUB would have put BOOT_IMAGE= before it
    assert (answers["root"], answers["kernel"]) == ("cloudimg-rootfs", version)
    assert int(answers["modules"]) > 0

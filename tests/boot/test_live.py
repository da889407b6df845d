"""A root of Debian with systemd that is only read: below an overlay in memory, as a microVM with an erofs and as a live
ISO, which starts with Secure Boot; by the initramfs that dibo makes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.conftest import BUILD_SECONDS
from tests.boot.test_shapes import console_of
from tests.support import user
from tests.support.images.oci_layouts import LayerTar, simple
from tests.support.machines.emulation import need_firmware
from tests.support.machines.qemu import TOOLS, Firmware, Machine
from tests.support.requirements import need, unmet

pytestmark = [pytest.mark.boot, pytest.mark.long]

PACKAGES = (
    *("linux-image-cloud-amd64", "systemd-sysv", "udev", "busybox", "kmod"),
    *("grub-pc-bin", "grub-efi-amd64-signed", "shim-signed"),
)
LOGIN = "login:"


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """The layout of the root. DIBO_BOOT_LIVE names an archive of a former run."""
    need(*TOOLS, "mmdebstrap")
    builder = user.need_ordinary_user()
    directory = user.directory_of(builder)
    try:
        archive = Path(os.environ.get("DIBO_BOOT_LIVE") or directory / "root.tar")
        if not archive.exists():
            options = ["--quiet", "--mode=unshare", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
            options += [
                "--aptopt=Apt::Install-Recommends false",
                "--customize-hook=echo live >$1/etc/hostname",
            ]
            argv = user.as_user(builder, ["mmdebstrap", *options, "bookworm", str(archive)])
            done = subprocess.run(argv, capture_output=True, text=True, timeout=BUILD_SECONDS, cwd="/")
            if done.returncode:
                unmet(f"Debian's packages cannot be had: {done.stderr[-200:]}")
        yield simple(directory / "image", [LayerTar(tar=archive, compression="none")])
    finally:
        shutil.rmtree(directory)


def converted(image: Path, directory: Path, kind: str, **variables: str) -> Path:
    argv = [
        sys.executable,
        "-m",
        "dibo",
        "convert",
        f"oci:{image}:latest",
        "-t",
        kind,
        "-o",
        str(directory / "web"),
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), **variables}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=BUILD_SECONDS)
    if done.returncode:
        pytest.fail(f"dibo convert failed:\n{done.stderr}", pytrace=False)
    return directory / f"web.{kind}"


def test_a_microvm_whose_root_is_only_read(image: Path, tmp_path: Path) -> None:
    console = console_of(
        [converted(image, tmp_path, "microvm", DIBO_MICROVM_ROOT="erofs") / "qemu.sh"], LOGIN
    )
    assert "live login:" in console[-1]
    assert not any("Failed to" in line for line in console)


def test_a_live_iso_with_secure_boot(image: Path, tmp_path: Path) -> None:
    need("xorriso")
    need_firmware(Firmware.SECURE_BOOT)
    iso = converted(image, tmp_path, "iso")
    with Machine(iso, directory=tmp_path / "machine", firmware=Firmware.SECURE_BOOT) as machine:
        machine.wait_for_console("live login:")
        assert "Failed to" not in machine.console_text()

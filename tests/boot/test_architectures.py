"""Roots of other architectures, converted without running a program of theirs, and booted by their own firmware.

The roots are packages of Debian, unpacked and not configured: nothing is emulated before the machine itself is. Their
init is a shell script that says what it sees.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import user
from tests.support.images.oci_layouts import LayerTar, OciLayout
from tests.support.machines.arm64 import ARM64_TOOLS, Arm64Machine, missing_firmware
from tests.support.machines.qemu import BOOT_SECONDS, Firmware
from tests.support.machines.riscv64 import RISCV64_TOOLS, UBOOT, Riscv64Machine
from tests.support.requirements import need, unmet

pytestmark = [pytest.mark.boot, pytest.mark.long]

BUILD_SECONDS = 1200.0
INIT = """#!/{busybox} sh
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys 2>/dev/null
echo "machine: $(busybox uname -m)"
echo "root: $(busybox grep ' / ext4 ' /proc/mounts)"
echo "firmware: $(busybox test -d /sys/firmware/efi && echo uefi)"
echo "command line: $(busybox cat /proc/cmdline)"
busybox sync
busybox poweroff -f
"""
DIRECTORIES = ("dev", "proc", "root", "run", "sbin", "sys", "tmp")


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """Of the user who makes roots and disks."""
    builder = user.need_ordinary_user()
    made = user.directory_of(builder)
    made.chmod(0o755)
    yield made
    subprocess.run(["rm", "-rf", made], check=True)


def root_of_packages(directory: Path, architecture: str, suite: str, *packages: str) -> Path:
    """An image whose files are those of `packages` and of all that they depend on, with INIT."""
    tar = directory / "packages.tar"
    options = ("--quiet", "--mode=unshare", "--variant=extract", f"--architectures={architecture}")
    argv = ["mmdebstrap", *options, f"--include={','.join(packages)}", suite, str(tar)]
    argv = user.as_user(user.ordinary_user(), argv)
    done = subprocess.run(argv, capture_output=True, text=True, cwd="/", timeout=BUILD_SECONDS)
    assert done.returncode == 0, done.stderr
    init = directory / "init.tar"
    with tarfile.open(tar) as file:
        busybox = next(name for name in file.getnames() if name.endswith("bin/busybox")).removeprefix("./")
    text_of_init = INIT.replace("{busybox}", busybox)
    with tarfile.open(init, "w") as file:
        for name in DIRECTORIES:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            file.addfile(entry)
        for name, text, mode in (
            ("sbin/init", text_of_init, 0o755),
            ("etc/os-release", "ID=debian\n", 0o644),
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), mode
            file.addfile(entry, io.BytesIO(text.encode()))
        add_indexes_of_modules(file, tar, directory / "modules")
        link = tarfile.TarInfo("bin/sh")
        link.type, link.linkname = tarfile.SYMTYPE, f"/{busybox}"
        file.addfile(link)
    layout = OciLayout(directory / "image")
    layers = [LayerTar(tar=tar, compression="zstd"), LayerTar(tar=init)]
    layout.write_index({"latest": layout.image(layers, architecture=architecture)})
    tar.unlink()
    return directory / "image"


def add_indexes_of_modules(file: tarfile.TarFile, packages: Path, scratch: Path) -> None:
    """What depmod makes when the kernel's package is configured; it reads modules of any architecture."""
    scratch.mkdir()
    names = ["--wildcards", "*lib/modules/*"]
    subprocess.run(["tar", "-C", scratch, "--no-same-owner", "-xf", packages, *names], check=True)
    if not (scratch / "lib").exists():  # Debian 13
        (scratch / "lib").symlink_to("usr/lib")
        file.add(scratch / "lib", "lib")
    for modules in (scratch / "lib/modules").iterdir():
        subprocess.run(["depmod", "-b", scratch, modules.name], check=True)
        for index in modules.glob("modules.*"):
            file.add(index, str(index.resolve().relative_to(scratch)))
    shutil.rmtree(scratch)


def convert(image: Path, architecture: str) -> Path:
    """Its disk, by dibo with no program on PATH."""
    disk = image.parent / "disk.qcow2"
    argv = [user.program("dibo"), "convert", f"oci:{image}", "-a", architecture, "-o", str(disk)]
    nothing = {"PATH": "/nonexistent"}
    done = subprocess.run(argv, capture_output=True, text=True, cwd="/", timeout=BUILD_SECONDS, env=nothing)
    assert done.returncode == 0, done.stderr
    return disk


@pytest.fixture(scope="module")
def arm64() -> Iterator[Path]:
    """A disk of Debian 12."""
    need(*ARM64_TOOLS, "mmdebstrap", "newuidmap", "depmod", "zstd")
    if missing := missing_firmware():
        unmet(missing)
    packages = ("linux-image-arm64", "grub-efi-arm64-signed", "shim-signed", "busybox-static", "kmod")
    with directory() as made:
        yield convert(root_of_packages(made, "arm64", "bookworm", *packages), "arm64")


@pytest.mark.parametrize("firmware", [Firmware.UEFI, Firmware.SECURE_BOOT])
def test_a_root_for_arm64_boots(arm64: Path, firmware: Firmware, tmp_path: Path) -> None:
    with Arm64Machine(arm64, directory=tmp_path, firmware=firmware) as machine:
        machine.wait_until_off(timeout=BOOT_SECONDS)
        console = machine.console_text()
    assert "machine: aarch64" in console
    assert "root: /dev/vda3" in console
    assert "firmware: uefi" in console
    assert "root=PARTUUID=" in console.partition("command line: ")[2]
    assert ("UEFI Secure Boot is enabled" in console) == (firmware is Firmware.SECURE_BOOT)


def test_a_root_for_riscv64_boots(tmp_path: Path) -> None:
    need(*RISCV64_TOOLS, "mmdebstrap", "newuidmap", "depmod", "zstd")
    if not UBOOT.exists():
        unmet("U-Boot is not installed: apt-get install u-boot-qemu")
    packages = ("linux-image-riscv64", "grub-efi-riscv64-bin", "busybox-static", "kmod")
    with directory() as made:
        disk = convert(root_of_packages(made, "riscv64", "trixie", *packages), "riscv64")
        with Riscv64Machine(disk, directory=tmp_path) as machine:
            machine.wait_until_off(timeout=BOOT_SECONDS)
            console = machine.console_text()
    assert "machine: riscv64" in console
    assert "root: /dev/vda3" in console
    assert "firmware: uefi" in console

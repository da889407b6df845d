"""Roots of other shapes, with no initramfs, boot: made by `dibo convert` of nothing but Python.

The roots are small, busybox with Debian's kernel (tests/support/images/boot_shapes.py), so that each boots in seconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.boot.conftest import BUILD_SECONDS
from tests.support import user
from tests.support.images.boot_shapes import PACKAGES, UP, WRITTEN, DebianParts, write_tar
from tests.support.images.oci_layouts import LayerTar, simple
from tests.support.machines.emulation import BOOT_SECONDS, need_firmware
from tests.support.machines.qemu import TOOLS, Firmware, Machine
from tests.support.requirements import need, unmet

pytestmark = pytest.mark.boot

FEDORA_LINKS = {"lib": "usr/lib"}


@pytest.fixture(scope="module")
def parts() -> Iterator[DebianParts]:
    """DIBO_BOOT_SHAPES names an archive of a former run."""
    need(*TOOLS, "mmdebstrap", "depmod")
    builder = user.need_ordinary_user()
    directory = user.directory_of(builder)
    try:
        archive = Path(os.environ.get("DIBO_BOOT_SHAPES") or directory / "parts.tar")
        if not archive.exists():
            options = ["--quiet", "--variant=extract", f"--include={','.join(PACKAGES)}"]
            argv = user.as_user(builder, ["mmdebstrap", *options, "bookworm", str(archive)])
            done = subprocess.run(argv, capture_output=True, text=True, timeout=BUILD_SECONDS, cwd="/")
            if done.returncode:
                unmet(f"Debian's packages cannot be had: {done.stderr[-200:]}")
        yield DebianParts(archive, directory)
    finally:
        shutil.rmtree(directory)


def converted(
    parts: DebianParts,
    shape: str,
    directory: Path,
    *options: str,
    links: Mapping[str, str] | None = None,
    name: str = "disk.qcow2",
    variables: Mapping[str, str] | None = None,
) -> tuple[Path, str]:
    """The disk of a root of that shape, and what dibo said; no program is to be had on PATH."""
    directory.mkdir()
    tar = write_tar(directory / "root.tar", parts.root(shape), links=links)
    layout = simple(directory / "image", [LayerTar(tar=tar, compression="none")])
    argv = [
        sys.executable,
        "-m",
        "dibo",
        "convert",
        f"oci:{layout}:latest",
        "-o",
        str(directory / name),
        *options,
    ]
    environment = {"PATH": "/nonexistent", "HOME": str(directory), **(variables or {})}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=BUILD_SECONDS)
    if done.returncode:
        pytest.fail(f"dibo convert failed:\n{done.stderr}", pytrace=False)
    return directory / name, done.stderr


def start(stack: contextlib.ExitStack, disk: Path, firmware: Firmware) -> Machine:
    need_firmware(firmware)
    directory = disk.parent / firmware.value
    return stack.enter_context(Machine(disk, directory=directory, firmware=firmware, memory=512))


def require_up(machine: Machine) -> None:
    machine.wait_for_console(UP)
    (line,) = [line for line in machine.console_text().splitlines() if UP in line]
    assert "/dev/vda" in line
    assert line.split()[-1] == "ext4"


def test_grub_for_bios_and_a_unified_image_for_uefi(parts: DebianParts, tmp_path: Path) -> None:
    by_grub, said = converted(parts, "debian", tmp_path / "grub")
    assert f"Linux {parts.version}, initramfs made, GRUB for BIOS, GRUB with shim for UEFI" in said
    unified, said = converted(parts, "alpine", tmp_path / "uki", "--boot", "uki")
    assert "unified kernel image made" in said
    with contextlib.ExitStack() as stack:
        machines = [start(stack, by_grub, Firmware.BIOS), start(stack, unified, Firmware.UEFI)]
        for machine in machines:
            require_up(machine)


def console_of(argv: Sequence[str | Path], last: str) -> list[str]:
    """Lines of the console of a machine without KVM, up to one with `last`."""
    environment = {**os.environ, "ACCEL": "tcg", "APPEND": "tsc_early_khz=2000000"}  # no timer to measure by
    with subprocess.Popen(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as machine:
        deadline = threading.Timer(BOOT_SECONDS, machine.kill)
        deadline.start()
        console: list[str] = []
        assert machine.stdout is not None
        for line in machine.stdout:
            console.append(line)
            if last in line:
                break
        deadline.cancel()
        machine.kill()
    assert last in console[-1], "".join(console[-40:])
    return console


def test_a_microvm(parts: DebianParts, tmp_path: Path) -> None:
    """By the script that `-t microvm` makes, without KVM."""
    made, said = converted(parts, "debian", tmp_path / "micro", "-t", "microvm", name="web")
    assert "none can be made" not in said
    console = console_of([made.with_name("web.microvm") / "qemu.sh"], UP)
    assert console[-1].split()[-1] == "ext4"


@pytest.mark.long
def test_a_microvm_whose_root_is_only_read(parts: DebianParts, tmp_path: Path) -> None:
    """The kernel mounts the erofs that dibo writes, below an overlay; the image stays as it was made."""
    options = {"DIBO_MICROVM_ROOT": "erofs"}
    made, _ = converted(parts, "debian", tmp_path / "micro", "-t", "microvm", name="web", variables=options)
    root = made.with_name("web.microvm") / "root.erofs"
    before = root.read_bytes()
    console = console_of([root.with_name("qemu.sh")], WRITTEN)
    (line,) = [line for line in console if UP in line]
    assert line.split()[-1] == "overlay"
    assert root.read_bytes() == before


@pytest.mark.long
def test_a_live_iso(parts: DebianParts, tmp_path: Path) -> None:
    """From a CD by BIOS, and as a disk by UEFI with Secure Boot; what it writes goes to memory."""
    need("xorriso")
    iso, _ = converted(
        parts,
        "debian",
        tmp_path / "iso",
        *("-t", "iso"),
        name="web.iso",
        variables={"PATH": os.environ["PATH"]},
    )
    argv: list[str | Path] = ["qemu-system-x86_64", "-M", "pc", "-accel", "tcg", "-cpu", "max", "-m", "512"]
    argv += ["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"]
    console = console_of([*argv, "-drive", f"file={iso},format=raw,if=ide,media=cdrom,readonly=on"], WRITTEN)
    (line,) = [line for line in console if UP in line]
    assert line.split()[-1] == "overlay"
    with contextlib.ExitStack() as stack:
        machine = start(stack, iso, Firmware.SECURE_BOOT)
        machine.wait_for_console(WRITTEN)


@pytest.mark.long
def test_fedoras_shape_with_secure_boot_and_systemd_boot(parts: DebianParts, tmp_path: Path) -> None:
    fedora, said = converted(parts, "fedora", tmp_path / "fedora", links=FEDORA_LINKS)
    assert "GRUB with shim for UEFI" in said
    by_systemd_boot, said = converted(parts, "alpine", tmp_path / "sd", "--boot", "systemd-boot")
    assert "systemd-boot for UEFI" in said
    with contextlib.ExitStack() as stack:
        machines = [start(stack, fedora, Firmware.SECURE_BOOT), start(stack, by_systemd_boot, Firmware.UEFI)]
        for machine in machines:
            require_up(machine)

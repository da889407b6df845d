"""`dibo convert` of roots without boot files, with nothing but Python: no other program starts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dibo.errors import RootNotBootable
from dibo.formats.pe import sections
from tests.support.images.boot_shapes import write_tar
from tests.support.images.oci_layouts import LayerTar, simple
from tests.support.node_trees import listing
from tests.support.requirements import need, unmet
from tests.unit.boot.test_initramfs import BUSYBOX, UTIL_LINUX, VERSION, root_with

STUB = Path("/usr/lib/systemd/boot/efi")
GRUB = Path("/usr/lib/grub/i386-pc")


def image_of(directory: Path, *, programs: dict[str, bytes | str | None], more: dict[str, bytes]) -> str:
    """An image of one layer: a kernel with modules and no initramfs."""
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    for path, content in listing(root_with(programs)):
        if isinstance(content, str):
            links[path] = content
        elif content is not None:
            files[path] = bytes(content)
    files |= {path.lstrip("/"): data for path, data in more.items()}
    tar = write_tar(directory / "root.tar", files, links=links)
    return f"oci:{simple(directory / 'image', [LayerTar(tar=tar, compression='gzip')])}:latest"


def files_of(directory: Path) -> dict[str, bytes]:
    if not directory.is_dir():
        unmet(f"no {directory}: install grub-pc-bin and systemd-boot-efi")
    return {str(path): path.read_bytes() for path in directory.iterdir() if path.is_file()}


def on_esp(disk: Path, path: str) -> bytes:
    done = subprocess.run(["mtype", "-i", f"{disk}@@2M", f"::{path}"], capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def convert(image: str, output: Path, *options: str, before: tuple[str, ...] = (), code: int = 0) -> str:
    argv = [*before, sys.executable, "-m", "dibo", "convert", image, "-o", str(output), "-t", "raw", *options]
    environment = {"PATH": "/nonexistent", "HOME": str(output.parent)}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.mark.parametrize("programs", [BUSYBOX, UTIL_LINUX], ids=["busybox", "util-linux"])
def test_no_program_starts(programs: dict[str, bytes | str | None], tmp_path: Path) -> None:
    """An initramfs, GRUB for BIOS and a unified kernel image, made of the root's files."""
    need("strace", "mtype")
    image = image_of(tmp_path, programs=programs, more=files_of(GRUB) | files_of(STUB))
    log = tmp_path / "strace"
    strace = ("/usr/bin/strace", "-f", "-qq", "-e", "trace=execve,execveat,fork,vfork", "-o", str(log))
    said = convert(image, tmp_path / "disk.raw", before=strace)
    assert f"Linux {VERSION}, initramfs made, GRUB for BIOS, systemd-boot for UEFI" in said
    started = [line for line in log.read_text().splitlines() if re.search(r"exec|fork", line)]
    assert len(started) == 1, started  # dibo itself
    entry = on_esp(tmp_path / "disk.raw", f"loader/entries/linux-{VERSION}.conf").decode()
    assert re.search(r"^options root=UUID=[0-9a-f-]{36} ro console=tty0", entry, re.MULTILINE)


def test_a_unified_kernel_image_on_the_disk(tmp_path: Path) -> None:
    need("mtype")
    image = image_of(tmp_path, programs=BUSYBOX, more=files_of(STUB))
    convert(image, tmp_path / "disk", "-t", "raw,uki", "--boot", "uki")
    made = on_esp(tmp_path / "disk.raw", f"EFI/Linux/linux-{VERSION}.efi")
    assert (tmp_path / "disk.efi").read_bytes() == made, "by itself it is the same"
    parts = sections(made)
    assert parts[".uname"] == VERSION.encode()
    assert parts[".linux"].rstrip(b"\0") == b"kernel"
    assert re.match(rb"root=UUID=[0-9a-f-]{36} ro ", parts[".cmdline"])


def test_a_type_that_fails_is_not_tried_again_with_other_boot_files(tmp_path: Path) -> None:
    more = files_of(GRUB) | {f"/boot/initrd.img-{VERSION}": b"initramfs"}
    image = image_of(tmp_path, programs=BUSYBOX, more=more)
    said = convert(image, tmp_path / "disk", "-t", "raw,uki", code=RootNotBootable.exit_code)
    assert said.count("uki: the root has neither a unified kernel image nor systemd-stub") == 1
    assert said.count("boot files: done") == 1, said


def test_the_same_image_gives_the_same_disk(tmp_path: Path) -> None:
    image = image_of(tmp_path, programs=UTIL_LINUX, more=files_of(STUB))
    disks = [tmp_path / f"{number}.raw" for number in range(2)]
    for disk in disks:
        convert(image, disk, "--boot", "uki")
    subprocess.run(["cmp", *map(str, disks)], check=True)

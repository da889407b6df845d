"""Whether a root has boot files, and what is missing otherwise."""

from __future__ import annotations

import re

import pytest

from dibo.boot.bootable import read_boot_files, require_bootable
from dibo.boot.find import find_boot_parts
from dibo.errors import LayoutError, RootNotBootable
from tests.unit.tree.test_query import Files, tree

KERNEL: Files = {"/boot/vmlinuz-6": b""}
GRUB: Files = {"/usr/lib/grub/i386-pc/boot.img": b""}
APT: Files = {"/usr/bin/apt-get": b""}
UBUNTU: Files = {**APT, "/etc/os-release": b"ID=mint\nID_LIKE='ubuntu debian'\n"}


def require(files: Files, *, architecture: str = "amd64") -> None:
    root = tree(files)
    require_bootable(root, find_boot_parts(root, architecture=architecture))


@pytest.mark.parametrize(
    ("files", "message", "hint"),
    [
        (APT, "no kernel", "linux-image-amd64 .*grub-pc-bin .*\n.*--base IMAGE vm"),
        (UBUNTU, "no kernel", "linux-image-virtual .*grub-pc "),
        (KERNEL, "no boot loader for amd64", "install in the image: grub2-common"),
    ],
)
def test_what_booting_lacks(files: Files, message: str, hint: str) -> None:
    with pytest.raises(RootNotBootable, match=message) as caught:
        require(files)
    assert not caught.value.preparable
    assert re.search(hint, caught.value.hint)


def test_a_root_that_only_holds_a_disk() -> None:
    with pytest.raises(RootNotBootable, match=r"holds a disk, /disk/disk\.qcow2, as KubeVirt") as caught:
        require({"/disk/disk.qcow2": b"QFI"})
    assert (caught.value.disk, caught.value.lacks_kernel) == ("/disk/disk.qcow2", False)
    with pytest.raises(RootNotBootable) as caught:
        require({"/disk/disk.qcow2": b"QFI", "/etc/hostname": b"web"})
    assert (caught.value.disk, caught.value.lacks_kernel) == ("", True)


def test_no_packages_for_a_root_that_can_install_none() -> None:
    with pytest.raises(RootNotBootable) as caught:
        require({"/app": b""})
    assert caught.value.hint == "or ask for the bare file system: --bare"


@pytest.mark.parametrize(
    ("architecture", "packages"),
    [
        ("armhf", "linux-image-armmp systemd-boot-efi"),
        ("i386", "linux-image-686-pae grub2-common grub-pc-bin grub-efi-ia32-bin"),
        ("riscv64", "linux-image-riscv64 systemd-boot-efi"),
    ],
)
def test_packages_of_other_architectures(architecture: str, packages: str) -> None:
    with pytest.raises(RootNotBootable) as caught:
        require(APT, architecture=architecture)
    assert f"install in the image: {packages}\n" in caught.value.hint


def test_grub_of_another_architecture_is_none() -> None:
    with pytest.raises(RootNotBootable, match="no boot loader for arm64"):
        require({**KERNEL, **GRUB}, architecture="arm64")


BOOT = "/usr/lib/dibo/boot"
MANIFEST = b'{"format": 1, "bios": {"boot": "boot.img", "core": "core.img"}, "esp": "esp"}'


def test_boot_files() -> None:
    root = tree(
        {
            f"{BOOT}/manifest.json": MANIFEST,
            f"{BOOT}/boot.img": b"boot",
            f"{BOOT}/core.img": b"core",
            f"{BOOT}/esp/EFI/BOOT/BOOTX64.EFI": b"shim",
            f"{BOOT}/esp/EFI/link": "BOOT",
        }
    )
    found = read_boot_files(root)
    assert (found.boot, found.core, found.esp) == (b"boot", b"core", {"EFI/BOOT/BOOTX64.EFI": b"shim"})


def test_a_boot_file_that_is_missing() -> None:
    root = tree({f"{BOOT}/manifest.json": MANIFEST, f"{BOOT}/boot.img": b""})
    with pytest.raises(LayoutError, match=r"core\.img, which is not in the root"):
        read_boot_files(root)

"""Directories of kernels, as the types microvm and netboot are."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from dibo.errors import DiskImageError
from dibo.machines.boards import board_of
from dibo.machines.kernel_directory import loadable, read_directory

AMD64 = b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + (62).to_bytes(2, "little") + bytes(44)
ARM64 = bytes(0x38) + b"ARM\x64" + bytes(16)


def test_a_microvm(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(AMD64)
    (tmp_path / "root.ext4").touch()
    (tmp_path / "cloud-hypervisor.json").write_text(json.dumps({"payload": {"cmdline": "root=/dev/vda rw"}}))
    directory = read_directory(tmp_path)
    assert (directory.architecture, directory.machine) == ("amd64", "microvm")
    assert directory.disk == tmp_path / "root.ext4"
    assert directory.kernel.arguments == "root=/dev/vda rw"
    assert directory.kernel.initrd is None


def test_a_root_in_memory(tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(ARM64)
    (tmp_path / "root.cpio.zst").touch()
    (tmp_path / "boot.ipxe").write_text(
        "#!ipxe\nkernel kernel initrd=root.cpio.zst rdinit=/init quiet\nboot\n"
    )
    directory = read_directory(tmp_path)
    assert (directory.architecture, directory.machine, directory.disk) == ("arm64", None, None)
    assert directory.kernel.arguments == "rdinit=/init quiet"
    assert directory.kernel.initrd == tmp_path / "root.cpio.zst"


def test_other_directories(tmp_path: Path) -> None:
    with pytest.raises(DiskImageError, match="is a directory"):
        read_directory(tmp_path)
    (tmp_path / "boot.ipxe").write_text("#!ipxe\nchain http://x\n")
    with pytest.raises(DiskImageError, match="starts no kernel"):
        read_directory(tmp_path)


def test_a_kernel_that_qemu_cannot_unpack(tmp_path: Path) -> None:
    """Only on other boards than PCs."""
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(gzip.compress(ARM64))
    assert loadable(kernel, board_of("arm64"), tmp_path).read_bytes() == ARM64
    assert loadable(kernel, board_of("amd64"), tmp_path) == kernel
    kernel.write_bytes(ARM64)
    assert loadable(kernel, board_of("arm64"), tmp_path) == kernel
    kernel.write_bytes(b"no kernel")
    assert loadable(kernel, board_of("arm64"), tmp_path) == kernel

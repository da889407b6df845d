"""Directories that dibo makes of a root for machines whose kernel is loaded from outside: microvm, netboot.

microvm   vmlinux, initrd, root.ext4; the kernel's arguments are in cloud-hypervisor.json
netboot   kernel, root.cpio.zst or .gz; the arguments are in boot.ipxe
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.errors import DiskImageError
from dibo.formats.kernels.errors import KernelImageError
from dibo.formats.kernels.image import uncompressed
from dibo.machines.boards import Board
from dibo.machines.boot_image import elf_architecture
from dibo.machines.machine import DirectKernel

_ARM64_AT: Final = 0x38
_IMAGES: Final = {b"ARM\x64": "arm64", b"RSC\x05": "riscv64"}
"""Of an Image (the kernel's Documentation/arch/arm64/booting.rst, arch/riscv/boot-image-header.rst)."""
_LARGEST: Final = 1 << 16
_ROOTS: Final = ("root.ext4", "root.erofs")


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelDirectory:
    """`disk` is the root file system; None where the kernel's ramdisk has it."""

    kernel: DirectKernel
    disk: Path | None
    architecture: str
    machine: str | None
    """The machine that the directory is for, if not the usual one."""


def read_directory(directory: Path) -> KernelDirectory:
    """Raises DiskImageError for a directory that is neither."""
    root = next((path for name in _ROOTS if (path := directory / name).is_file()), None)
    if (directory / "vmlinux").is_file() and root is not None:
        kernel = _kernel(directory, "vmlinux", ("initrd",), _microvm_arguments(directory))
        architecture = kernel_architecture(kernel.kernel)
        machine = "microvm" if architecture in ("amd64", "i386") else None
        return KernelDirectory(kernel=kernel, disk=root, architecture=architecture, machine=machine)
    if (directory / "boot.ipxe").is_file():
        names = ("root.cpio.zst", "root.cpio.gz", "root.cpio")
        kernel = _kernel(directory, "kernel", names, _ipxe_arguments(directory))
        architecture = kernel_architecture(kernel.kernel)
        return KernelDirectory(kernel=kernel, disk=None, architecture=architecture, machine=None)
    raise DiskImageError(
        f"{directory} is a directory, and no kernel with a root",
        hint="expected a disk image, or a directory of the type microvm or netboot; of an image as a directory: "
        f"dibo boot oci:{directory}",
    )


def kernel_architecture(path: Path) -> str:
    """The architecture of a kernel; empty where it does not say."""
    try:
        data = path.read_bytes()
        image = uncompressed(data)
    except (OSError, KernelImageError, MemoryError):
        return ""
    return elf_architecture(image[:64]) or _IMAGES.get(image[_ARM64_AT : _ARM64_AT + 4], "")


def loadable(kernel: Path, board: Board, directory: Path) -> Path:
    """The kernel, or where QEMU cannot load it, a file in `directory` with the kernel that it unpacks to: on other
    boards than PCs, those that are compressed (EFI zboot images)."""
    if board.qemu_name not in ("aarch64", "riscv64"):
        return kernel
    try:
        data = kernel.read_bytes()
        image = uncompressed(data)
    except (OSError, KernelImageError):  # QEMU says what it is
        return kernel
    if image == data:
        return kernel
    path = directory / "Image"
    path.write_bytes(image)
    return path


def _kernel(directory: Path, name: str, initrds: tuple[str, ...], arguments: str) -> DirectKernel:
    initrd = next((path for name in initrds if (path := directory / name).is_file()), None)
    return DirectKernel(kernel=directory / name, initrd=initrd, arguments=arguments)


def _microvm_arguments(directory: Path) -> str:
    path = directory / "cloud-hypervisor.json"
    try:
        arguments = json.loads(_text(path))["payload"]["cmdline"]
    except (ValueError, KeyError, TypeError) as error:
        raise DiskImageError(f"{path} does not have the kernel's arguments: {error!r}") from error
    return str(arguments)


def _ipxe_arguments(directory: Path) -> str:
    for line in _text(directory / "boot.ipxe").splitlines():
        words = line.split()
        if words[:2] == ["kernel", "kernel"]:
            return " ".join(word for word in words[2:] if not word.startswith("initrd="))
    raise DiskImageError(f"{directory / 'boot.ipxe'} starts no kernel")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST).decode(errors="replace")
    except OSError as error:
        raise DiskImageError(f"cannot read {path}: {error.strerror}") from error

"""A directory that monitors of microVMs start: kernel, initramfs, root file system, and how to start them.

    vmlinux                what monitors load: an ELF file on x86, an Image elsewhere; unpacked from the root's kernel
    initrd                 the root's own, else one that dibo makes of its modules and programs
    root.ext4              the root, on no partition; or root.erofs, which is only read: writes go to memory
    qemu.sh                QEMU: -M microvm on x86, -M virt elsewhere
    firecracker.json       firecracker --no-api --config-file firecracker.json
    cloud-hypervisor.json  the body of vm.create; ch-remote create cloud-hypervisor.json

Names in the configurations are relative: monitors are started in the directory. The kernel needs virtio-mmio for QEMU's
microvm and Firecracker; where it is a module, the initramfs must load it. The initramfs that dibo makes mounts the
overlay on an erofs (overlayroot=tmpfs, as Debian's package overlayroot understands it), so it comes before the root's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from dibo.boot.find import find_boot_parts
from dibo.boot.parts import BootKernel
from dibo.disk.built_in.erofs import write_erofs
from dibo.disk.built_in.job import (
    NO_KERNEL_HINT,
    ConversionJob,
    bytes_of_parts,
    initramfs_of,
    number_option,
    plain_arguments,
)
from dibo.disk.built_in.root_ext4 import write_root
from dibo.errors import ConverterError, RootNotBootable, UsageError
from dibo.formats.kernels.errors import KernelImageError
from dibo.formats.kernels.image import LIMIT, uncompressed
from dibo.tree.node import Node

CPUS: Final = "DIBO_MICROVM_CPUS"
MEMORY: Final = "DIBO_MICROVM_MEMORY"
FILE_SYSTEM: Final = "DIBO_MICROVM_ROOT"
KERNEL, INITRD = "vmlinux", "initrd"
_CONSOLES: Final = {"arm64": "ttyAMA0"}
_QEMU: Final = {
    "amd64": ("qemu-system-x86_64", "microvm,rtc=on"),
    "arm64": ("qemu-system-aarch64", "virt"),
    "riscv64": ("qemu-system-riscv64", "virt"),
}


class RootType(Enum):
    """What the root of the machine is; values are those of DIBO_MICROVM_ROOT."""

    EXT4 = "ext4"
    EROFS = "erofs"

    @property
    def file(self) -> str:
        return f"root.{self.value}"

    @property
    def is_read_only(self) -> bool:
        return self is RootType.EROFS

    @property
    def arguments(self) -> list[str]:
        """For the kernel, besides root=."""
        return ["overlayroot=tmpfs"] if self.is_read_only else []

    @classmethod
    def of(cls, options: Mapping[str, str]) -> RootType:
        """Raises UsageError."""
        name = options.get(FILE_SYSTEM) or cls.EXT4.value
        try:
            return cls(name)
        except ValueError:
            hint = f"use one of {', '.join(each.value for each in cls)}"
            raise UsageError(f"{FILE_SYSTEM} is {name!r}", hint=hint) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroVm:
    """The machine, for the configurations of monitors; `memory` in MiB."""

    architecture: str
    root: RootType
    cpus: int
    memory: int
    has_initrd: bool
    arguments: tuple[str, ...]
    """Of the kernel, without root=."""

    @property
    def command_line(self) -> str:
        return " ".join([*self.arguments, "root=/dev/vda", "ro" if self.root.is_read_only else "rw"])


def check_options(options: Mapping[str, str]) -> None:
    """Raises UsageError for an invalid variable."""
    RootType.of(options)
    _cpus(options)
    _memory(options)


def _cpus(options: Mapping[str, str]) -> int:
    return number_option(options, CPUS, default=1, largest=255)


def _memory(options: Mapping[str, str]) -> int:
    return number_option(options, MEMORY, default=512, largest=1 << 20)


def make_microvm(job: ConversionJob) -> None:
    """Raises RootNotBootable, ConverterError, ImageTooSmall, UsageError, OutputError."""
    assert job.root is not None
    if job.architecture not in _QEMU:
        raise ConverterError(
            f"microvm: no monitor is known for {job.architecture}", hint="use amd64 or arm64"
        )
    root = RootType.of(job.options)
    kernel = _kernel(job.root.node, job.architecture)
    image = bytes_of_parts(job.root, kernel.image)
    try:
        (job.target / KERNEL).write_bytes(uncompressed(image))
    except KernelImageError as error:
        raise ConverterError(f"microvm: the kernel {kernel.image.path} {error}") from error
    initramfs = _initramfs(job, kernel, root)
    if initramfs:
        (job.target / INITRD).write_bytes(initramfs)
    if root is RootType.EROFS:
        write_erofs(job, job.target / root.file)
    else:
        write_root(job, job.target / root.file)
    console = _CONSOLES.get(job.architecture, "ttyS0")
    own = plain_arguments(kernel, job.warn)
    machine = MicroVm(
        architecture=job.architecture,
        root=root,
        cpus=_cpus(job.options),
        memory=_memory(job.options),
        has_initrd=bool(initramfs),
        arguments=(f"console={console}", "reboot=k", "panic=1", *root.arguments, *own),
    )
    _write_configurations(machine, job.target)


def check_root(root: Node, architecture: str) -> None:
    """Raises RootNotBootable for a root without a kernel."""
    _kernel(root, architecture)


def _kernel(root: Node, architecture: str) -> BootKernel:
    kernels = find_boot_parts(root, architecture=architecture).kernels
    kernel = next((kernel for kernel in kernels if kernel.initramfs), kernels[0] if kernels else None)
    if kernel is None:
        raise RootNotBootable(
            "microvm: the root has no kernel",
            hint=NO_KERNEL_HINT,
            lacks_kernel=True,
        )
    if kernel.image.node.size > LIMIT:
        raise ConverterError(f"microvm: the kernel {kernel.image.path} is larger than any")
    return kernel


def _initramfs(job: ConversionJob, kernel: BootKernel, root: RootType) -> bytes:
    """The root's own, else one made of the root's modules and programs; empty where that cannot be. With an overlay
    always a made one; RootNotBootable where that cannot be."""
    assert job.root is not None
    if kernel.initramfs and not root.is_read_only:
        return bytes_of_parts(job.root, *kernel.initramfs)
    try:
        return initramfs_of(job.root, kernel, epoch=job.identity.time)
    except RootNotBootable as error:
        if root.is_read_only:
            raise RootNotBootable(
                f"microvm: a root of erofs needs an initramfs that dibo makes: {error.message}",
                hint=f"{error.hint}\nor use {FILE_SYSTEM}=ext4",
            ) from error
        job.warn(f"{error.message}: the machine starts if virtio and ext4 are built into the kernel")
        return b""


def _write_configurations(machine: MicroVm, directory: Path) -> None:
    for name, document in (
        ("firecracker.json", firecracker(machine)),
        ("cloud-hypervisor.json", cloud_hypervisor(machine)),
    ):
        (directory / name).write_text(json.dumps(document, indent=2) + "\n")
    script = directory / "qemu.sh"
    script.write_text(qemu(machine))
    script.chmod(0o755)


def firecracker(machine: MicroVm) -> dict[str, Any]:
    """A configuration file of Firecracker, docs/getting-started.md and src/firecracker/swagger/firecracker.yaml:
    FullVmConfiguration. It appends root=/dev/vda by itself, with ro or rw."""
    boot: dict[str, Any] = {"kernel_image_path": KERNEL, "boot_args": " ".join(machine.arguments)}
    if machine.has_initrd:
        boot["initrd_path"] = INITRD
    drive = {
        "drive_id": "root",
        "is_root_device": True,
        "is_read_only": machine.root.is_read_only,
        "path_on_host": machine.root.file,
    }
    return {
        "boot-source": boot,
        "drives": [drive],
        "machine-config": {"vcpu_count": machine.cpus, "mem_size_mib": machine.memory},
    }


def cloud_hypervisor(machine: MicroVm) -> dict[str, Any]:
    """A VmConfig of cloud-hypervisor, vmm/src/api/openapi/cloud-hypervisor.yaml. Sizes in bytes."""
    payload = {"kernel": KERNEL, "cmdline": machine.command_line}
    if machine.has_initrd:
        payload["initramfs"] = INITRD
    disk: dict[str, Any] = {"path": machine.root.file, "image_type": "Raw"}
    if machine.root.is_read_only:
        disk["readonly"] = True
    return {
        "payload": payload,
        "cpus": {"boot_vcpus": machine.cpus, "max_vcpus": machine.cpus},
        "memory": {"size": machine.memory << 20},
        "disks": [disk],
        "serial": {"mode": "Tty"},
        "console": {"mode": "Off"},
    }


def qemu(machine: MicroVm) -> str:
    """A script for sh(1). Its arguments come last on QEMU's command line, $APPEND on the kernel's."""
    program, model = _QEMU[machine.architecture]
    drive = f"id=root,file={machine.root.file},format=raw,if=none"
    lines = [
        f'exec {program} -M {model} -accel "${{ACCEL:-kvm}}" -accel tcg -cpu max'
        f" -smp {machine.cpus} -m {machine.memory}",
        "-nodefaults -no-user-config -nographic -no-reboot -serial stdio",
        f"-kernel {KERNEL}{f' -initrd {INITRD}' if machine.has_initrd else ''}",
        f'-append "{machine.command_line} ${{APPEND:-}}"',
        f"-drive {drive}{',readonly=on' if machine.root.is_read_only else ''} -device virtio-blk-device,drive=root",
        "-netdev user,id=net -device virtio-net-device,netdev=net",
        '"$@"',
    ]
    head = '#!/bin/sh\n# Starts the machine in QEMU; the console is this terminal.\nset -eu\ncd "$(dirname "$0")"\n'
    return head + " \\\n    ".join(lines) + "\n"

"""A directory that monitors of microVMs start: kernel, initramfs, root file system, and how to start them.

    vmlinux                what monitors load: an ELF file on x86, an Image elsewhere; unpacked from the root's kernel
    initrd                 the root's own, else one that dibo makes of its modules and programs
    root.ext4              the root, on no partition
    qemu.sh                QEMU: -M microvm on x86, -M virt elsewhere
    firecracker.json       firecracker --no-api --config-file firecracker.json
    cloud-hypervisor.json  the body of vm.create; ch-remote create cloud-hypervisor.json

Names in the configurations are relative: monitors are started in the directory. The kernel needs virtio-mmio for QEMU's
microvm and Firecracker; where it is a module, the initramfs must load it.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from dibo.boot.find import find_boot_parts
from dibo.boot.initramfs import make_initramfs
from dibo.boot.parts import BootKernel, Part
from dibo.disk.built_in.job import (
    ConversionJob,
    RootTree,
    find_root_init,
    number_option,
    with_bytes,
)
from dibo.disk.built_in.root_ext4 import write_root
from dibo.errors import ConverterError, RootNotBootable
from dibo.formats.kernels.errors import KernelImageError
from dibo.formats.kernels.image import LIMIT, uncompressed

CPUS: Final = "DIBO_MICROVM_CPUS"
MEMORY: Final = "DIBO_MICROVM_MEMORY"
KERNEL, INITRD, ROOT = "vmlinux", "initrd", "root.ext4"
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:,=/@%+-]+")
"""Arguments of the root's own kernel that a shell script may hold in quotes; others are left out."""
_CONSOLES: Final = {"arm64": "ttyAMA0"}
_QEMU: Final = {
    "amd64": ("qemu-system-x86_64", "microvm,rtc=on"),
    "arm64": ("qemu-system-aarch64", "virt"),
    "riscv64": ("qemu-system-riscv64", "virt"),
}


def make_microvm(job: ConversionJob) -> None:
    """Raises RootNotBootable, ConverterError, ImageTooSmall, UsageError, OutputError."""
    assert job.root is not None
    if job.architecture not in _QEMU:
        raise ConverterError(
            f"microvm: no monitor is known for {job.architecture}", hint="use amd64 or arm64"
        )
    kernel = _kernel(job)
    image = b"".join(_pieces(job.root, kernel.image))
    try:
        (job.target / KERNEL).write_bytes(uncompressed(image))
    except KernelImageError as error:
        raise ConverterError(f"microvm: the kernel {kernel.image.path} {error}") from error
    initramfs = (
        b"".join(data for part in kernel.initramfs for data in _pieces(job.root, part))
        if kernel.initramfs
        else _made_initramfs(job, kernel)
    )
    if initramfs:
        (job.target / INITRD).write_bytes(initramfs)
    write_root(job, job.target / ROOT)
    _write_configurations(job, has_initrd=bool(initramfs), arguments=kernel.arguments)


def _kernel(job: ConversionJob) -> BootKernel:
    assert job.root is not None
    kernels = find_boot_parts(job.root.node, architecture=job.architecture).kernels
    kernel = next((kernel for kernel in kernels if kernel.initramfs), kernels[0] if kernels else None)
    if kernel is None:
        raise RootNotBootable(
            "microvm: the root has no kernel",
            hint="build on it: disk-image-create --base IMAGE vm, or install one in the image",
        )
    if kernel.image.node.size > LIMIT:
        raise ConverterError(f"microvm: the kernel {kernel.image.path} is larger than any")
    return kernel


def _made_initramfs(job: ConversionJob, kernel: BootKernel) -> bytes:
    """One made of the root's modules and programs; empty where that cannot be."""
    assert job.root is not None
    root, init, epoch = job.root.node, find_root_init(), job.identity.time
    try:
        return with_bytes(job.root, lambda: make_initramfs(root, kernel, init=init, epoch=epoch))
    except RootNotBootable as error:
        job.warn(f"{error.message}: the machine starts if virtio and ext4 are built into the kernel")
        return b""


def _pieces(root: RootTree, part: Part) -> list[bytes]:
    return [] if part.node.content is None else list(root.spool.read(part.node.content))


def _write_configurations(job: ConversionJob, *, has_initrd: bool, arguments: tuple[str, ...]) -> None:
    cpus = number_option(job.options, CPUS, default=1, largest=255)
    memory = number_option(job.options, MEMORY, default=512, largest=1 << 20)
    console = _CONSOLES.get(job.architecture, "ttyS0")
    words = [f"console={console}", "reboot=k", "panic=1", *filter(_PLAIN.fullmatch, arguments)]
    with_root = " ".join([*words, "root=/dev/vda", "rw"])
    for name, document in (
        ("firecracker.json", firecracker(words, has_initrd=has_initrd, cpus=cpus, memory=memory)),
        (
            "cloud-hypervisor.json",
            cloud_hypervisor(with_root, has_initrd=has_initrd, cpus=cpus, memory=memory),
        ),
    ):
        (job.target / name).write_text(json.dumps(document, indent=2) + "\n")
    script = job.target / "qemu.sh"
    script.write_text(qemu(job.architecture, with_root, has_initrd=has_initrd, cpus=cpus, memory=memory))
    script.chmod(0o755)


def firecracker(words: list[str], *, has_initrd: bool, cpus: int, memory: int) -> dict[str, Any]:
    """A configuration file of Firecracker, docs/getting-started.md and src/firecracker/swagger/firecracker.yaml:
    FullVmConfiguration. It appends root=/dev/vda by itself."""
    boot: dict[str, Any] = {"kernel_image_path": KERNEL, "boot_args": " ".join(words)}
    if has_initrd:
        boot["initrd_path"] = INITRD
    drive = {"drive_id": "root", "is_root_device": True, "is_read_only": False, "path_on_host": ROOT}
    return {
        "boot-source": boot,
        "drives": [drive],
        "machine-config": {"vcpu_count": cpus, "mem_size_mib": memory},
    }


def cloud_hypervisor(cmdline: str, *, has_initrd: bool, cpus: int, memory: int) -> dict[str, Any]:
    """A VmConfig of cloud-hypervisor, vmm/src/api/openapi/cloud-hypervisor.yaml. Sizes in bytes."""
    payload = {"kernel": KERNEL, "cmdline": cmdline}
    if has_initrd:
        payload["initramfs"] = INITRD
    return {
        "payload": payload,
        "cpus": {"boot_vcpus": cpus, "max_vcpus": cpus},
        "memory": {"size": memory << 20},
        "disks": [{"path": ROOT, "image_type": "Raw"}],
        "serial": {"mode": "Tty"},
        "console": {"mode": "Off"},
    }


def qemu(architecture: str, cmdline: str, *, has_initrd: bool, cpus: int, memory: int) -> str:
    """A script for sh(1). Its arguments come last on QEMU's command line, $APPEND on the kernel's."""
    program, machine = _QEMU[architecture]
    lines = [
        f'exec {program} -M {machine} -accel "${{ACCEL:-kvm}}" -accel tcg -cpu max -smp {cpus} -m {memory}',
        "-nodefaults -no-user-config -nographic -no-reboot -serial stdio",
        f"-kernel {KERNEL}{f' -initrd {INITRD}' if has_initrd else ''}",
        f'-append "{cmdline} ${{APPEND:-}}"',
        f"-drive id=root,file={ROOT},format=raw,if=none -device virtio-blk-device,drive=root",
        "-netdev user,id=net -device virtio-net-device,netdev=net",
        '"$@"',
    ]
    head = '#!/bin/sh\n# Starts the machine in QEMU; the console is this terminal.\nset -eu\ncd "$(dirname "$0")"\n'
    return head + " \\\n    ".join(lines) + "\n"

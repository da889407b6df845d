"""A live system on an ISO image, which starts by BIOS and UEFI, from a CD or as a disk, and leaves nothing behind.

    /live/root.erofs             the root, only read: the initramfs mounts it below an overlay in memory
    /boot/vmlinuz, /boot/initrd  the newest kernel with modules, and an initramfs that dibo makes
    /boot/grub/grub.cfg          one entry
    /boot/grub/eltorito.img      GRUB for BIOS: cdboot.img and a core image (GRUB: util/mkimage.c)
    /EFI/…/grub.cfg              for GRUB that looks for it on the medium instead of the second partition
    partition 2                  a FAT with GRUB for UEFI, shim before it, or else a unified kernel image

xorriso writes ISO 9660 with Rock Ridge, the boot catalogue (El Torito), and an MBR by GRUB's boot_hybrid.img. The
medium is found by its label, which no other image has.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.boot import grub
from dibo.boot.entries import MenuEntry, bytes_of, command_line, token_of
from dibo.boot.find import find_boot_parts
from dibo.boot.parts import FIRMWARE, BootParts
from dibo.boot.prepare_root import signed
from dibo.boot.systemd_boot import unified_kernels
from dibo.disk.built_in.erofs import write_erofs
from dibo.disk.built_in.job import NO_KERNEL_HINT, ConversionJob, boot_template, initramfs_of, with_bytes
from dibo.errors import LayoutError, RootNotBootable
from dibo.formats import grub_core
from dibo.formats.fat.build import FatVolume, write_fat
from dibo.formats.raw import RawFile
from dibo.system import process
from dibo.tree.query import os_release
from dibo.units import MIB

_ROOT: Final = "live/root.erofs"
_ESP_LABEL: Final = "UEFI"
_CLUSTER: Final = 4096
"""Bytes that a file may take besides its own, in a small FAT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaders:
    """Boot loaders of a medium: what is not there is empty."""

    eltorito: bytes = b""
    hybrid: bytes = b""
    """The beginning of the boot sector."""
    esp: dict[str, bytes]


def make_iso(job: ConversionJob) -> None:
    """Raises RootNotBootable, ConverterError, OutputError, CommandFailed."""
    assert job.root is not None
    label = f"DIBO_{job.identity.uuid.hex[:16].upper()}"
    parts = find_boot_parts(job.root.node, architecture=job.architecture)
    entry = _entry(job, parts)
    loaders = with_bytes(job.root, lambda: _loaders(job, parts, entry, label))
    if not loaders.eltorito and not loaders.esp:
        raise RootNotBootable(
            f"iso: the root has no boot loader for {parts.architecture}: neither GRUB nor systemd-stub",
            hint=f"install grub-pc-bin and grub-efi-{parts.architecture}-bin, or systemd-boot-efi, in the image;"
            " the boot loaders of a kit are for disks",
        )
    tree = job.scratch / "tree"
    files = {
        "boot/vmlinuz": with_bytes(job.root, lambda: entry.image),
        "boot/initrd": entry.joined,
        "boot/grub/grub.cfg": _menu(job, entry, label),
        **({"boot/grub/eltorito.img": loaders.eltorito} if loaders.eltorito else {}),
        **{path: data for path, data in loaders.esp.items() if path.endswith("/grub.cfg")},
    }
    for path, data in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    (tree / _ROOT).parent.mkdir()
    write_erofs(job, tree / _ROOT)
    for staged in (*tree.rglob("*"), tree):
        os.utime(staged, (job.identity.time, job.identity.time))
    _write_iso(job, tree, loaders, label)


def _entry(job: ConversionJob, parts: BootParts) -> MenuEntry:
    """The kernel, with an initramfs that finds the root on the medium."""
    assert job.root is not None
    root = job.root.node
    kernel = next((kernel for kernel in parts.kernels if kernel.modules is not None), None)
    if kernel is None:
        lacks = "no modules for its kernel" if parts.kernels else "no kernel"
        raise RootNotBootable(f"iso: the root has {lacks}", hint=NO_KERNEL_HINT)
    made = initramfs_of(job.root, kernel, epoch=job.identity.time)
    words = [*command_line(root, parts.architecture, job.options).split(), *kernel.arguments]
    own = [word for word in dict.fromkeys(words) if word not in ("ro", "rw")]
    arguments = " ".join([f"loop=/{_ROOT}", "overlayroot=tmpfs", "ro", *own])
    name = os_release(root).get("PRETTY_NAME", "Linux").replace("'", "")
    return MenuEntry(kernel=kernel, title=f"{name}, live", arguments=arguments, made=made)


def _loaders(job: ConversionJob, parts: BootParts, entry: MenuEntry, label: str) -> _Loaders:
    """Raises RootNotBootable, BytesMissing."""
    assert job.root is not None
    search = f"search --no-floppy --label {label} --set=root\nset prefix=($root)/boot/grub\n"
    esp: dict[str, bytes] = {}
    if parts.grub_efi is not None:
        esp = grub.esp_files(parts, f"{search}configfile $prefix/grub.cfg\n".encode())
        if job.sign is not None:
            esp = signed(esp, job.sign, is_signed=parts.grub_efi.signed)
    elif parts.stub is not None:
        made = unified_kernels(job.root.node, parts, [entry], token=token_of(job.root.node), sign=job.sign)
        (kernel,) = made.values()
        first = f"EFI/BOOT/BOOT{FIRMWARE[parts.architecture].upper()}.EFI"
        esp = {first: kernel.image(f"LABEL={label}")}
    bios = {name: bytes_of(part) for name, part in parts.grub_bios.items()}
    if not {"cdboot.img", "boot_hybrid.img"} <= bios.keys():
        return _Loaders(esp=esp)
    modules = ["biosdisk", "iso9660", *boot_template("grub-modules").decode().split()]
    try:
        core = grub_core.core_image(bios, modules=modules, prefix="/boot/grub", config=search.encode())
    except LayoutError as error:
        raise RootNotBootable(
            f"iso: cannot make GRUB's core image of the root's files: {error.message}",
            hint="install grub-pc-bin whole in the image",
        ) from error
    return _Loaders(eltorito=bios["cdboot.img"] + core, hybrid=bios["boot_hybrid.img"], esp=esp)


def _menu(job: ConversionJob, entry: MenuEntry, label: str) -> bytes:
    lines = [
        *grub.menu_head(job.options),
        f"menuentry '{entry.title}' {{",
        f"\tlinux /boot/vmlinuz root=LABEL={label} {grub.in_menu(entry.arguments)}",
        "\tinitrd /boot/initrd",
        "}",
    ]
    return ("\n".join(lines) + "\n").encode()


def _write_iso(job: ConversionJob, tree: Path, loaders: _Loaders, label: str) -> None:
    options = ["-r", "-iso-level", "3", "-V", label, "-quiet"]
    if loaders.eltorito:
        hybrid = job.scratch / "boot_hybrid.img"
        hybrid.write_bytes(loaders.hybrid)
        options += [
            "-b",
            "boot/grub/eltorito.img",
            "-no-emul-boot",
            "-boot-load-size",
            "4",
            "-boot-info-table",
        ]
        options += ["--grub2-boot-info", "--grub2-mbr", str(hybrid)]
    if loaders.esp:
        esp = job.scratch / "esp.img"
        size = (2 + sum(len(data) + _CLUSTER for data in loaders.esp.values()) // MIB) * MIB
        serial = int.from_bytes(job.identity.uuid.bytes[:4], "big")
        with RawFile(esp, size) as target:
            volume = FatVolume(target=target, offset=0, label=_ESP_LABEL, serial=serial)
            write_fat(volume, size=size, files=loaders.esp, mtime=job.identity.time)
        options += ["-eltorito-alt-boot"] if loaders.eltorito else []
        options += ["-append_partition", "2", "0xef", str(esp)]
        options += ["-e", "--interval:appended_partition_2:all::", "-no-emul-boot"]
    process.run(
        ["xorriso", "-no_rc", "-as", "mkisofs", *options, "-o", str(job.target), str(tree)],
        env={"SOURCE_DATE_EPOCH": str(max(0, job.identity.time)), "TZ": "UTC"},
        streams=process.Streams(on_output=job.on_output),
    )

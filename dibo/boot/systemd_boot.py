"""systemd-boot and unified kernel images for a root: the files of the EFI system partition.

    EFI/BOOT/BOOTX64.EFI           systemd-boot, shim before it, or a unified kernel image where there is no loader
    EFI/systemd/systemd-bootx64.efi
    loader/loader.conf             loader/entries.srel: "type1"
    loader/entries/TOKEN-V.conf    an entry of type 1 for each kernel
    TOKEN/V/linux, TOKEN/V/initrd  where kernel-install(8) has them
    EFI/Linux/*.efi                unified kernel images, which systemd-boot offers by itself (type 2)

UAPI Group Specifications: Boot Loader Specification. systemd: systemd-boot(7), loader.conf(5), kernel-install(8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from dibo.boot.boot_files import UnifiedKernel
from dibo.boot.entries import MenuEntry, bytes_of
from dibo.boot.grub import first_image
from dibo.boot.parts import FIRMWARE, BootParts
from dibo.tree.node import Node
from dibo.tree.query import find, os_release

_ARCHITECTURES: Final = {
    "amd64": "x64",
    "arm64": "aa64",
    "i386": "ia32",
    "armhf": "arm",
    "riscv64": "riscv64",
}
ROOT: Final = "root=LABEL=cloudimg-rootfs"
"""What entries say before the disk is known (dibo.disk.esp_files)."""


def loader_files(parts: BootParts, options: Mapping[str, str]) -> dict[str, bytes]:
    """systemd-boot itself, and its settings. `options` may have DIBO_GRUB_TIMEOUT."""
    loader = parts.systemd_boot
    assert loader is not None
    suffix = FIRMWARE[parts.architecture]
    timeout = options.get("DIBO_GRUB_TIMEOUT") or "1"
    return {
        **first_image(loader, suffix),
        f"EFI/systemd/systemd-boot{suffix}.efi": bytes_of(loader.image),
        "loader/loader.conf": f"timeout {timeout}\n".encode(),
        "loader/entries.srel": b"type1\n",
    }


def entry_files(entries: Iterable[MenuEntry], *, token: str, architecture: str) -> dict[str, bytes]:
    """Kernels, their initramfs, and an entry for each."""
    files: dict[str, bytes] = {}
    for entry in entries:
        version = entry.kernel.version
        directory = f"{token}/{version}"
        files[f"{directory}/linux"] = entry.image
        lines = [
            "# Made with the image. kernel-install adds further entries.",
            f"title {entry.title}",
            f"version {version}",
            f"sort-key {token}",
            f"architecture {_ARCHITECTURES[architecture]}",
            f"options {ROOT} {entry.arguments}",
            f"linux /{directory}/linux",
        ]
        for number, archive in enumerate(entry.initramfs):
            name = "initrd" if len(entry.initramfs) == 1 else f"initrd-{number}"
            files[f"{directory}/{name}"] = archive
            lines.append(f"initrd /{directory}/{name}")
        files[f"loader/entries/{token}-{version}.conf"] = ("\n".join(lines) + "\n").encode()
    return files


def unified_files(parts: BootParts) -> dict[str, bytes]:
    """The unified kernel images of the root, as they are, where systemd-boot finds them."""
    return {f"EFI/Linux/{part.path.rpartition('/')[2]}": bytes_of(part) for part in parts.unified}


def unified_kernels(
    root: Node,
    parts: BootParts,
    entries: Iterable[MenuEntry],
    *,
    token: str,
    sign: Callable[[bytes], bytes] | None,
) -> dict[str, UnifiedKernel]:
    """Unified kernel images made of systemd-stub, the newest first."""
    assert parts.stub is not None
    stub = bytes_of(parts.stub)
    release = _os_release(root)
    return {
        f"EFI/Linux/{token}-{entry.kernel.version}.efi": UnifiedKernel(
            stub=stub,
            architecture=parts.architecture,
            parts={
                ".osrel": release,
                ".cmdline": entry.arguments.encode(),
                ".uname": entry.kernel.version.encode(),
                ".initrd": entry.joined,
                ".linux": entry.image,
            },
            sign=sign,
        )
        for entry in entries
    }


def _os_release(root: Node) -> bytes:
    """The file, from which systemd-boot takes titles."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        node = find(root, path)
        if node is not None and node.data:
            return node.data
    return (
        "".join(f'{name}="{value}"\n' for name, value in os_release(root).items()).encode() or b"ID=linux\n"
    )

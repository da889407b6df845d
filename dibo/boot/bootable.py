"""The boot files of a root: whether it has them, what is missing otherwise, and their bytes.

A manifest in the root names them (dibo.boot.boot_files). The tree must be loaded with the bytes of `KEPT_FILES`.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import Final

from dibo.boot.boot_files import MANIFEST, BootFiles, parse_manifest
from dibo.errors import LayoutError, RootNotBootable
from dibo.tree import query
from dibo.tree.node import Node
from dibo.tree.query import find, kernels, names_in, os_release

KEPT_FILES: Final = (bytes(MANIFEST.parent.relative_to("/")) + b"/", b"etc/fstab", *query.KEPT_FILES)
"""Files whose bytes disks read from a tree: prefixes of paths without their first slash."""

_GRUB: Final = {
    "amd64": ("i386-pc", "x86_64-efi-signed", "x86_64-efi"),
    "arm64": ("arm64-efi-signed", "arm64-efi"),
    "i386": ("i386-pc", "i386-efi"),
}
_PACKAGES: Final = {
    ("debian", "amd64"): (
        "linux-image-amd64 initramfs-tools",
        "grub2-common grub-pc-bin grub-efi-amd64-signed shim-signed",
    ),
    ("debian", "arm64"): (
        "linux-image-arm64 initramfs-tools",
        "grub2-common grub-efi-arm64-signed shim-signed",
    ),
    ("debian", "i386"): ("linux-image-686-pae initramfs-tools", "grub2-common grub-pc-bin grub-efi-ia32-bin"),
    ("ubuntu", "amd64"): ("linux-image-virtual initramfs-tools", "grub-pc grub-efi-amd64-signed shim-signed"),
    ("ubuntu", "arm64"): (
        "linux-image-virtual initramfs-tools",
        "grub-efi-arm64 grub-efi-arm64-signed shim-signed",
    ),
}


def require_bootable(root: Node, *, architecture: str) -> None:
    """Raises RootNotBootable unless the tree has what boot files are made of: a kernel and GRUB. It says what is
    missing, and in which packages that is."""
    release = os_release(root)
    family = "ubuntu" if "ubuntu" in (release.get("ID"), *release.get("ID_LIKE", "").split()) else "debian"
    kernel, loader = _PACKAGES.get((family, architecture), ("a kernel and its initramfs", "GRUB"))
    if not kernels(root):
        raise RootNotBootable(
            "the root has no kernel: there is no /boot/vmlinuz-*, so no disk made of it would boot",
            hint=f"install in the image: {kernel} {loader}\n"
            "or build on it: disk-image-create --base IMAGE vm, which installs what is missing\n"
            "or ask for the bare file system: --bare",
        )
    if not any(names_in(root, f"/usr/lib/grub/{platform}") for platform in _GRUB.get(architecture, ())):
        raise RootNotBootable(
            f"the root has a kernel, but no GRUB for {architecture} in /usr/lib/grub",
            hint=f"install in the image: {loader}\n"
            "or build on it: disk-image-create --base IMAGE vm, which installs what is missing\n"
            "or ask for the bare file system: --bare",
        )


def read_boot_files(root: Node) -> BootFiles:
    """What the tree brings along to be booted. Raises LayoutError when it is not what its manifest says."""
    manifest = parse_manifest(_bytes(root, str(MANIFEST)))
    esp = find(root, str(manifest.esp)) if manifest.esp else None
    return BootFiles(
        boot=_bytes(root, str(manifest.bios.boot)) if manifest.bios else None,
        core=_bytes(root, str(manifest.bios.core)) if manifest.bios else None,
        esp={path.decode(errors="surrogateescape"): data for path, data in _files(esp)} if esp else {},
    )


def _bytes(root: Node, path: str) -> bytes:
    node = find(root, path)
    if node is None or node.data is None:
        raise LayoutError(f"{MANIFEST} names {path}, which is not in the root")
    return node.data


def _files(directory: Node, above: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """Plain files below a directory, with their paths from there."""
    for name, child in sorted((directory.children or {}).items()):
        if child.children is not None:
            yield from _files(child, above + name + b"/")
        elif stat.S_ISREG(child.mode):
            yield above + name, child.data if child.data is not None else b""

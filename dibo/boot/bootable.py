"""The boot files of a root: whether it has them, what is missing otherwise, and their bytes.

A manifest in the root names them (dibo.boot.boot_files). The tree must be loaded with the bytes of `KEPT_FILES`.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import Final

from dibo.boot.boot_files import MANIFEST, BootFiles, parse_manifest
from dibo.boot.parts import BootParts
from dibo.errors import LayoutError, RootNotBootable
from dibo.tree import query
from dibo.tree.node import Node
from dibo.tree.query import find, os_release

KEPT_FILES: Final = (bytes(MANIFEST.parent.relative_to("/")) + b"/", b"etc/fstab", *query.KEPT_FILES)
"""Files whose bytes disks read from a tree: prefixes of paths without their first slash."""

_DEBIAN: Final = {
    "amd64": ("linux-image-amd64", "grub2-common grub-pc-bin grub-efi-amd64-signed shim-signed"),
    "arm64": ("linux-image-arm64", "grub2-common grub-efi-arm64-signed shim-signed"),
    "armhf": ("linux-image-armmp", "systemd-boot-efi"),
    "i386": ("linux-image-686-pae", "grub2-common grub-pc-bin grub-efi-ia32-bin"),
    "riscv64": ("linux-image-riscv64", "systemd-boot-efi"),
}
_UBUNTU: Final = {
    "amd64": ("linux-image-virtual", "grub-pc grub-efi-amd64-signed shim-signed"),
    "arm64": ("linux-image-virtual", "grub-efi-arm64 grub-efi-arm64-signed shim-signed"),
}
_OTHERS: Final = {
    "fedora": ("kernel-core", "grub2-efi-x64 shim-x64, or systemd-boot-unsigned"),
    "rhel": ("kernel-core", "grub2-efi-x64 shim-x64"),
    "suse": ("kernel-default", "grub2-x86_64-efi shim, or systemd-boot"),
    "arch": ("linux", "systemd, which has systemd-boot"),
    "alpine": ("linux-virt", "systemd-boot"),
}


def require_bootable(root: Node, parts: BootParts) -> None:
    """Raises RootNotBootable unless the tree has what boot files are made of: a kernel and a boot loader. It says what
    is missing, and in which packages that is."""
    kernel, loader = _packages(root, parts.architecture)
    is_extensible = any(find(root, path) is not None for path in _PACKAGE_MANAGERS)
    if not parts.kernels and not parts.unified:
        if (disk := held_disk(root)) is not None:
            error = RootNotBootable(
                f"the image holds a disk, {disk}, as KubeVirt takes it, and no root of which one is made",
                hint="dibo boot starts that disk",
            )
            error.disk = disk
            raise error
        raise RootNotBootable(
            "the root has no kernel: there is no /boot/vmlinuz-*, no /usr/lib/modules/*/vmlinuz and no unified kernel"
            " image, so no disk made of it would boot",
            hint=f"install in the image: {kernel} {loader}\n{_WAYS_OUT}" if is_extensible else _BARE,
            lacks_kernel=True,
        )
    has_grub = bool(parts.grub_bios or parts.grub_modules) or parts.grub_efi is not None
    if parts.unified or has_grub or parts.systemd_boot is not None or parts.stub is not None:
        return
    raise RootNotBootable(
        f"the root has a kernel, but no boot loader for {parts.architecture}: no GRUB in /usr/lib/grub, no systemd-boot"
        " in /usr/lib/systemd/boot/efi",
        hint=f"install in the image: {loader}\n{_WAYS_OUT}",
    )


_BARE: Final = "or ask for the bare file system: --bare"
_WAYS_OUT: Final = (
    f"or build on it: disk-image-create --base IMAGE vm, which installs what is missing\n{_BARE}"
)
_PACKAGE_MANAGERS: Final = (
    *(
        "/usr/bin/apt-get",
        "/usr/bin/dnf",
        "/usr/bin/dnf5",
        "/usr/bin/microdnf",
        "/usr/bin/yum",
        "/usr/bin/zypper",
    ),
    *("/usr/bin/pacman", "/sbin/apk", "/usr/bin/apk"),
)


def _packages(root: Node, architecture: str) -> tuple[str, str]:
    """Of a kernel, and of boot loaders."""
    release = os_release(root)
    kin = (release.get("ID", "debian"), *release.get("ID_LIKE", "").split())
    unknown = ("a kernel", "GRUB or systemd-boot")
    if "ubuntu" in kin:
        return _UBUNTU.get(architecture, unknown)
    for name in kin:
        if name in _OTHERS:
            return _OTHERS[name]
    return _DEBIAN.get(architecture, unknown)


def held_disk(root: Node) -> str | None:
    """The path of the disk in a root that has nothing but it, in /disk (KubeVirt, "Disks and Volumes":
    containerDisk)."""
    directory = find(root, "/disk")
    if directory is None or not directory.children or set(root.children or ()) != {b"disk"}:
        return None
    files = [name for name, node in sorted(directory.children.items()) if stat.S_ISREG(node.mode)]
    return f"/disk/{files[0].decode(errors='surrogateescape')}" if files else None


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

"""What a tree can boot with: the one answer for disks, kits and other artefacts.

    find_boot_parts(root, architecture="amd64")                  of a root
    find_boot_parts(root, …).completed_by(find_boot_parts(kit))  a kernel and boot loaders from elsewhere

A tree of a kit may be any Node: the files of the kit lie in it as in a root. What the root has comes first; a kernel of
the kit counts where the root has none. Each part holds the file itself (`Part.node`) and, where modules matter, the
tree that they are in, so parts of two trees can stand in one answer. Questions are answered by names, and by the few
texts that dibo.boot.keep lists; a tree must be loaded with the bytes of these, and with those of the parts that are
used. Nothing is executed.

    GRUB            /usr/lib/grub/i386-pc, …/x86_64-efi-signed, …/x86_64-efi/monolithic and shim: Debian's kin
                    /boot/efi/EFI/VENDOR, /usr/lib/bootupd/updates/EFI/VENDOR: Fedora's kin
                    /usr/share/efi/x86_64: openSUSE
    systemd-boot    /usr/lib/systemd/boot/efi: everywhere
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dibo.boot.kernels import find_kernels, find_unified
from dibo.boot.parts import ESP_PLACES, FIRMWARE, BootParts, EfiLoader, Part, part_at
from dibo.tree.node import Node
from dibo.tree.query import find, names_in

_GRUB_EFI: Final = {
    "amd64": "x86_64-efi",
    "arm64": "arm64-efi",
    "armhf": "arm-efi",
    "i386": "i386-efi",
    "riscv64": "riscv64-efi",
}
"""Debian's packages have a whole image of GRUB for each but armhf and riscv64."""
_SYSTEMD_BOOT: Final = "/usr/lib/systemd/boot/efi"
_SUSE: Final = {"amd64": "x86_64", "arm64": "aarch64"}


def find_boot_parts(root: Node, *, architecture: str) -> BootParts:
    """What the tree has. It may be a whole root, or only the files of a kit."""
    bios = _files(root, "/usr/lib/grub/i386-pc") if architecture in ("amd64", "i386") else {}
    platforms = (["i386-pc"] if bios else []) + [_GRUB_EFI.get(architecture, "")]
    directories = (f"/usr/lib/grub/{platform}" for platform in platforms if platform)
    return BootParts(
        architecture=architecture,
        kernels=find_kernels(root),
        unified=find_unified(root),
        grub_bios=bios if "boot.img" in bios else {},
        grub_efi=_grub_efi(root, architecture),
        grub_modules=tuple(path for path in directories if b"normal.mod" in names_in(root, path)),
        systemd_boot=_systemd_boot(root, architecture),
        stub=part_at(root, f"{_SYSTEMD_BOOT}/linux{FIRMWARE.get(architecture, '')}.efi.stub"),
        has_init=any(find(root, path) is not None for path in ("/sbin/init", "/etc/init", "/bin/init")),
    )


def _first(root: Node, *paths: str) -> Part | None:
    return next((part for path in paths if (part := part_at(root, path)) is not None), None)


def _files(root: Node, directory: str) -> dict[str, Part]:
    parts = (part_at(root, f"{directory}/{_text(name)}") for name in names_in(root, directory))
    return {part.path.rpartition("/")[2]: part for part in parts if part is not None}


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")


def _grub_efi(root: Node, architecture: str) -> EfiLoader | None:
    if architecture not in _GRUB_EFI or architecture not in FIRMWARE:
        return None
    platform, suffix = _GRUB_EFI[architecture], FIRMWARE[architecture]
    signed = part_at(root, f"/usr/lib/grub/{platform}-signed/grub{suffix}.efi.signed")
    shim = part_at(root, f"/usr/lib/shim/shim{suffix}.efi.signed")
    if signed is not None and shim is not None:
        manager = _first(root, f"/usr/lib/shim/mm{suffix}.efi.signed", f"/usr/lib/shim/mm{suffix}.efi")
        return EfiLoader(image=signed, signed=True, shim=shim, manager=manager)
    vendors = list(_of_vendors(root, suffix))
    if vendors:
        return vendors[0]
    whole = part_at(root, f"/usr/lib/grub/{platform}/monolithic/grub{suffix}.efi")
    if whole is not None:
        return EfiLoader(image=whole)
    return EfiLoader(image=signed, signed=True) if signed is not None else None


def _of_vendors(root: Node, suffix: str) -> Iterator[EfiLoader]:
    """Fedora's kin ships the files of the EFI system partition in their places, or below /usr for bootupd."""
    for place in (*(f"{mount}/EFI" for mount in ESP_PLACES), "/usr/lib/bootupd/updates/EFI"):
        for name in names_in(root, place):
            directory = f"{place}/{_text(name)}"
            image = part_at(root, f"{directory}/grub{suffix}.efi")
            if image is not None and name.upper() != b"BOOT":
                shim = part_at(root, f"{directory}/shim{suffix}.efi")
                manager = part_at(root, f"{directory}/mm{suffix}.efi")
                yield EfiLoader(
                    image=image, signed=shim is not None, vendor=_text(name), shim=shim, manager=manager
                )
    for architecture, name_of_suse in _SUSE.items():
        directory = f"/usr/share/efi/{name_of_suse}"
        image = part_at(root, f"{directory}/grub.efi")
        if FIRMWARE[architecture] == suffix and image is not None:
            shim = part_at(root, f"{directory}/shim.efi")
            manager = part_at(root, f"{directory}/MokManager.efi")
            yield EfiLoader(image=image, signed=shim is not None, shim=shim, manager=manager)


def _systemd_boot(root: Node, architecture: str) -> EfiLoader | None:
    name = f"{_SYSTEMD_BOOT}/systemd-boot{FIRMWARE.get(architecture, '')}.efi"
    signed = part_at(root, f"{name}.signed")
    image = signed or part_at(root, name)
    if image is None:
        return None
    suffix = FIRMWARE.get(architecture, "")
    shim = part_at(root, f"/usr/lib/shim/shim{suffix}.efi.signed") if signed is not None else None
    manager = _first(root, f"/usr/lib/shim/mm{suffix}.efi.signed", f"/usr/lib/shim/mm{suffix}.efi")
    return EfiLoader(
        image=image, signed=signed is not None, shim=shim, manager=manager if shim is not None else None
    )

"""GRUB for a root: its core image for BIOS, its files for UEFI, its menu, and what update-grub reads later.

BIOS   core.img is linked from GRUB's modules in the root (dibo.formats.grub_core)
UEFI   the whole images that the distribution's packages bring: shim and the signed GRUB, else the unsigned one
menu   an entry for each kernel, newest first; kernels that are not in /boot are copied there
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from dibo.boot.boot_files import BootFiles
from dibo.boot.entries import MenuEntry, bytes_of
from dibo.boot.parts import FIRMWARE, BootParts, EfiLoader, Part, part_at
from dibo.errors import LayoutError, RootNotBootable
from dibo.formats import grub_core
from dibo.ramdisk.selection import resolve
from dibo.tree.node import Node
from dibo.tree.query import find, names_in, os_release

MENU: Final = PurePosixPath("/boot/grub/grub.cfg")
_ENVIRONMENT_BLOCK: Final = b"# GRUB Environment Block\n".ljust(1024, b"#")
"""As grub-editenv(1) creates it."""
_IN_BOOT: Final = re.compile(r"/boot/[A-Za-z0-9/._+~@^,=-]+")
"""Files that a menu names as they are; others are copied."""
_SPECIAL: Final = re.compile(r"[;|&<>{}\\$'#]")
_SPECIAL_IN_QUOTES: Final = re.compile(r"[\\$]")
_OTHER_MENU: Final = PurePosixPath("/boot/grub2/grub.cfg")
"""What grub2-mkconfig of Fedora and openSUSE writes."""


def boot_files(parts: BootParts, templates: Mapping[str, bytes], *, with_uefi: bool = True) -> BootFiles:
    """What of GRUB goes to the disk. Raises RootNotBootable where GRUB's files are not all there, BytesMissing."""
    esp = esp_files(parts, templates["esp.cfg"]) if with_uefi else {}
    if not parts.grub_bios:
        return BootFiles(esp=esp)
    bios = {name: bytes_of(part) for name, part in parts.grub_bios.items()}
    modules = ["biosdisk", *templates["grub-modules"].decode().split()]
    try:
        core = grub_core.core_image(bios, modules=modules, prefix="/boot/grub", config=templates["early.cfg"])
    except LayoutError as error:
        raise RootNotBootable(
            f"cannot make GRUB's core image of the root's files: {error.message}",
            hint="install grub-pc-bin whole in the image, or let an engine make the files: --prepare",
            preparable=True,
        ) from error
    return BootFiles(boot=bios.get("boot.img", b""), core=core, esp=esp)


def esp_files(parts: BootParts, config: bytes) -> dict[str, bytes]:
    """The files of the EFI system partition; none where the root has no image of GRUB for UEFI."""
    loader = parts.grub_efi
    if loader is None:
        return {}
    suffix = FIRMWARE[parts.architecture]
    image = bytes_of(loader.image)
    files = {**first_image(loader, suffix), "EFI/BOOT/grub.cfg": config}
    for vendor in dict.fromkeys((loader.vendor or vendor_of(image), vendor_of(image))):
        files |= _of_vendor(loader, vendor, suffix, config)
    return files


def first_image(loader: EfiLoader, suffix: str) -> dict[str, bytes]:
    """The removable path, from which all firmware boots: shim, which starts the loader as grubX.efi, or the loader."""
    image, first = bytes_of(loader.image), f"EFI/BOOT/BOOT{suffix.upper()}.EFI"
    if loader.shim is None:
        return {first: image}
    files = {first: bytes_of(loader.shim), f"EFI/BOOT/grub{suffix}.efi": image}
    if loader.manager is not None:
        files[f"EFI/BOOT/mm{suffix}.efi"] = bytes_of(loader.manager)
    return files


def _of_vendor(loader: EfiLoader, vendor: str, suffix: str, config: bytes) -> dict[str, bytes]:
    """The directory of the distribution, where its GRUB looks for its configuration."""
    directory = f"EFI/{vendor}"
    files = {f"{directory}/grub.cfg": config}
    if loader.shim is not None:
        files[f"{directory}/shim{suffix}.efi"] = bytes_of(loader.shim)
        files[f"{directory}/grub{suffix}.efi"] = bytes_of(loader.image)
        if loader.manager is not None:
            files[f"{directory}/mm{suffix}.efi"] = bytes_of(loader.manager)
    return files


def vendor_of(image: bytes) -> str:
    """The directory in which an image of GRUB looks for its configuration, wherever it was started from."""
    for vendor in ("ubuntu", "fedora", "opensuse", "redhat", "centos"):
        if f"/EFI/{vendor}".encode() in image:
            return vendor
    return "debian"


def tree_files(
    root: Node,
    entries: Sequence[MenuEntry],
    templates: Mapping[str, bytes],
    options: Mapping[str, str],
    command_line: str,
) -> dict[PurePosixPath, bytes]:
    """Files of the root: the menu, kernels that it needs in /boot, modules, and the settings of update-grub."""
    kernels: dict[PurePosixPath, bytes] = {}
    names = [_in_boot(root, entry, kernels) for entry in entries]
    files = {
        MENU: _menu(root, list(zip(entries, names, strict=True)), options),
        PurePosixPath("/boot/grub/grubenv"): _ENVIRONMENT_BLOCK,
        **kernels,
    }
    if find(root, "/etc/grub.d") is not None or is_of_debian(root):
        files[PurePosixPath("/etc/default/grub.d/60-dibo.cfg")] = _defaults(command_line, options, templates)
    return files


def modules(root: Node, parts: BootParts, boot: BootFiles) -> dict[PurePosixPath, bytes]:
    """GRUB's modules where GRUB looks for those that its images do not have."""
    files: dict[PurePosixPath, bytes] = {}
    for directory in parts.grub_modules:
        platform = directory.rpartition("/")[2]
        if platform == "i386-pc" and boot.core is None:
            continue
        for name in (name.decode(errors="surrogateescape") for name in names_in(root, directory)):
            part = part_at(root, f"{directory}/{name}") if name.endswith((".mod", ".lst")) else None
            if part is not None:
                files[PurePosixPath("/boot/grub", platform, name)] = bytes_of(part)
    if boot.core is not None and boot.boot is not None:  # where packages look whether GRUB is in use
        files[PurePosixPath("/boot/grub/i386-pc/boot.img")] = boot.boot
        files[PurePosixPath("/boot/grub/i386-pc/core.img")] = boot.core
    return files


def is_of_debian(root: Node) -> bool:
    """Whether the root is Debian's or its kin's, whose names of files and programs these are."""
    release = os_release(root)
    kin = {release.get("ID", "debian"), *release.get("ID_LIKE", "").split()}
    return bool(kin & {"debian", "ubuntu"}) or find(root, "/var/lib/dpkg/status") is not None


def _in_boot(
    root: Node, entry: MenuEntry, kernels: dict[PurePosixPath, bytes]
) -> tuple[str, tuple[str, ...]]:
    """Paths of a kernel and its initramfs in /boot; what is elsewhere is put into `kernels`."""
    version = entry.kernel.version
    image = _real_path(entry.kernel.image, entry.kernel.tree if entry.kernel.tree is root else None)
    if image is None:
        image = f"/boot/vmlinuz-{version}"
        kernels[PurePosixPath(image)] = entry.image
    name = f"initrd.img-{version}" if is_of_debian(root) else f"initramfs-{version}.img"
    if entry.made is not None:
        kernels[PurePosixPath("/boot", name)] = entry.made
        return image, (f"/boot/{name}",)
    paths = [_real_path(part, root if entry.kernel.tree is root else None) for part in entry.kernel.initramfs]
    present = tuple(path for path in paths if path is not None)
    if len(present) == len(paths):
        return image, present
    kernels[PurePosixPath("/boot", name)] = entry.joined
    return image, (f"/boot/{name}",)


def _real_path(part: Part, root: Node | None) -> str | None:
    """Where a part is in /boot, links resolved; None where it is elsewhere: /boot may be a file system of its own."""
    resolved = resolve(root, part.path) if root is not None else None
    return resolved.path if resolved is not None and _IN_BOOT.fullmatch(resolved.path) else None


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def in_menu(arguments: str) -> str:
    """Arguments of a kernel, as a menu says them: GRUB's shell takes none of their characters for its own. What is in
    double quotes stays there (GRUB manual, "Quoting")."""
    return "".join(
        (_SPECIAL_IN_QUOTES if piece.startswith('"') else _SPECIAL).sub(r"\\\g<0>", piece)
        for piece in re.split(r'("[^"]*")', arguments)
    )


def _defaults(command_line: str, options: Mapping[str, str], templates: Mapping[str, bytes]) -> bytes:
    return (
        "# From dibo. After a change here, run update-grub.\n"
        f"GRUB_TIMEOUT={_quoted(_timeout(options))}\n"
        f"GRUB_CMDLINE_LINUX={_quoted(command_line)}\n"
    ).encode() + templates["default-grub"]


def _timeout(options: Mapping[str, str]) -> str:
    return options.get("DIBO_GRUB_TIMEOUT") or "1"


def menu_head(options: Mapping[str, str]) -> list[str]:
    """How each menu begins: how long it is shown, and that it is on the serial port, too. `options` may have
    DIBO_GRUB_TIMEOUT."""
    return [
        "set default=0",
        f"set timeout={_timeout(options)}",
        'if [ "$grub_platform" = pc ]; then',
        "\tif serial --unit=0 --speed=115200; then",
        "\t\tterminal_input --append serial",
        "\t\tterminal_output --append serial",
        "\tfi",
        "fi",
    ]


def _menu(
    root: Node, entries: Sequence[tuple[MenuEntry, tuple[str, tuple[str, ...]]]], options: Mapping[str, str]
) -> bytes:
    """As the flavour `boot-files` writes it: dibo.disk.grub_cfg makes it fit the disk."""
    lines = ["# Made with the image. update-grub replaces it.", *menu_head(options)]
    if not is_of_debian(root):  # what grub2-mkconfig may write one day comes before this menu
        lines += [f"if [ -s $prefix/../grub2/{MENU.name} ]; then configfile $prefix/../grub2/{MENU.name}; fi"]
    for entry, (image, initramfs) in entries:
        lines += [
            f"menuentry '{entry.title}' {{",
            '\tsearch --no-floppy --label cloudimg-rootfs --set=root --hint="$root"',
            f"\tlinux {image} root=LABEL=cloudimg-rootfs {in_menu(entry.arguments)}",
            f"\tinitrd {' '.join(initramfs)}",
            "}",
        ]
    return ("\n".join(lines) + "\n").encode()


def stale_menus(root: Node) -> tuple[PurePosixPath, ...]:
    """Menus of another machine that would come before the one that dibo writes."""
    return (_OTHER_MENU,) if find(root, str(_OTHER_MENU)) is not None else ()

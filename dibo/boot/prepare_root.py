"""Boot files for a root that has a kernel, its initramfs and GRUB, but that no flavour prepared: nothing of it is run.

What the flavour `boot-files` does in a step, done to a tree in memory:

    BIOS   core.img is linked from GRUB's modules in the root (dibo.formats.grub_core)
    UEFI   the whole images that the distribution's packages bring: shim and the signed GRUB, else the unsigned one
    menu   an entry for each kernel that has an initramfs, newest first
    root   host keys, the machine id and random seeds go: a machine makes its own
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from dibo.boot.boot_files import BootFiles
from dibo.errors import LayoutError, RootNotBootable
from dibo.formats import grub_core
from dibo.tree.node import Node
from dibo.tree.query import find, kernels, names_in, os_release

RULES: Final = PurePosixPath("/usr/lib/udev/rules.d/61-dibo-root-disk.rules")
"""udev rules that name the partitions of the disk that / is on."""
GRUB_FILES: Final = (b"usr/lib/grub/", b"usr/lib/shim/")
"""Prefixes of files whose bytes a tree must have in memory, besides those of dibo.boot.bootable."""

_EFI: Final = {"amd64": ("x86_64-efi", "x64"), "arm64": ("arm64-efi", "aa64"), "i386": ("i386-efi", "ia32")}
"""GRUB's name of the platform and the firmware's suffix of the architecture (UEFI 2.10, 3.5.1.1)."""
_CONSOLE: Final = {"arm64": "console=tty0 console=ttyAMA0,115200"}
_COMMAND_LINE: Final = "console=tty0 console=ttyS0,115200"
_INITRAMFS: Final = ("initrd.img-{}", "initramfs-{}.img", "initrd-{}")
"""Names of the initramfs of a kernel: Debian's, Fedora's, openSUSE's."""

_IDENTITIES: Final = (
    "/etc/machine-id",
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/random-seed",
    "/var/lib/urandom/random-seed",
    "/var/lib/systemd/credential.secret",
)
_PROGRAMS: Final = (
    PurePosixPath("/usr/lib/dibo/grub-probe"),
    PurePosixPath("/usr/lib/dibo/is-on-root-disk"),
    PurePosixPath("/etc/grub.d/00_dibo"),
)
_UNIT: Final = PurePosixPath("/etc/systemd/system/dibo-ssh-host-keys.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class BootTemplates:
    """Files of dibo that go into a root as they are, or tell how its boot files are made."""

    files: Mapping[str, bytes]
    """Those of the flavour `boot-files`, by name."""
    host_keys_unit: bytes
    """A systemd unit that makes missing SSH host keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRoot:
    """What a root needs to boot: `boot` goes to the disk, `files` and `links` into the tree, in place of what is
    there. Nothing of the tree has changed yet."""

    boot: BootFiles
    files: Mapping[PurePosixPath, bytes] = field(default_factory=dict)
    """New files: owned by root, of mode 0644."""
    programs: Mapping[PurePosixPath, bytes] = field(default_factory=dict)
    """The same of mode 0755."""
    links: Mapping[PurePosixPath, bytes] = field(default_factory=dict)
    removed: tuple[PurePosixPath, ...] = ()


def prepare(
    root: Node, templates: BootTemplates, *, architecture: str, options: Mapping[str, str]
) -> PreparedRoot:
    """Make what is missing. `options` may have DIBO_CMDLINE and DIBO_GRUB_TIMEOUT.

    Raises RootNotBootable where no kernel has an initramfs, or GRUB's files are not all there: an engine may be able to
    make them (`preparable`).
    """
    entries = list(_entries(root))
    if not entries:
        raise RootNotBootable(
            f"no kernel of the root has an initramfs: expected one of"
            f" {', '.join('/boot/' + name.format('VERSION') for name in _INITRAMFS)}",
            hint="make it in the image (update-initramfs -c -k all), or let an engine make it: --prepare",
            preparable=True,
        )
    command_line = options.get("DIBO_CMDLINE") or _CONSOLE.get(architecture, _COMMAND_LINE)
    boot = _boot_files(root, templates, architecture)
    files = {
        PurePosixPath("/boot/grub/grub.cfg"): _menu(root, entries, command_line, options),
        PurePosixPath("/boot/grub/grubenv"): _ENVIRONMENT_BLOCK,
        PurePosixPath("/etc/default/grub.d/60-dibo.cfg"): _defaults(command_line, options, templates),
        PurePosixPath("/etc/fstab"): _fstab(root),
        RULES: templates.files[RULES.name],
        **_modules(root, boot, architecture),
    }
    programs = {path: templates.files[path.name] for path in _PROGRAMS}
    links: dict[PurePosixPath, bytes] = {}
    if find(root, "/usr/sbin/sshd") is not None and find(root, "/etc/systemd/system") is not None:
        files[_UNIT] = templates.host_keys_unit
        for wanted_by in ("multi-user.target", "ssh.service"):
            links[_UNIT.parent / f"{wanted_by}.wants" / _UNIT.name] = f"../{_UNIT.name}".encode()
    if find(root, "/etc/machine-id") is not None:
        files[PurePosixPath("/etc/machine-id")] = b""
    removed = tuple(_identities(root))
    return PreparedRoot(boot=boot, files=files, programs=programs, links=links, removed=removed)


def _entries(root: Node) -> Iterator[tuple[str, str]]:
    """Kernels that have an initramfs, and its name, the newest first."""
    names = names_in(root, "/boot")
    for version in reversed(kernels(root)):
        for pattern in _INITRAMFS:
            name = pattern.format(version)
            if name.encode() in names:
                yield version, name
                break


def _boot_files(root: Node, templates: BootTemplates, architecture: str) -> BootFiles:
    bios = _files_of(root, "/usr/lib/grub/i386-pc") if architecture in ("amd64", "i386") else {}
    esp = _esp(root, templates, architecture)
    if not bios and not esp:
        raise RootNotBootable(
            f"the root has a kernel, but no GRUB for {architecture} that can be used as it is",
            hint="install grub-pc-bin or grub-efi-…-bin in the image, or let an engine make the files: --prepare",
            preparable=True,
        )
    if not bios:
        return BootFiles(esp=esp)
    modules = ["biosdisk", *templates.files["grub-modules"].decode().split()]
    early = templates.files["early.cfg"]
    try:
        core = grub_core.core_image(bios, modules=modules, prefix="/boot/grub", config=early)
    except LayoutError as error:
        raise RootNotBootable(
            f"cannot make GRUB's core image of the root's files: {error.message}",
            hint="install grub-pc-bin whole in the image, or let an engine make the files: --prepare",
            preparable=True,
        ) from error
    return BootFiles(boot=bios.get("boot.img", b""), core=core, esp=esp)


def _esp(root: Node, templates: BootTemplates, architecture: str) -> dict[str, bytes]:
    """The files of the EFI system partition; none where the root has no image for UEFI."""
    if architecture not in _EFI:
        return {}
    platform, suffix = _EFI[architecture]
    loader = f"EFI/BOOT/BOOT{suffix.upper()}.EFI"
    shim = _data(root, f"/usr/lib/shim/shim{suffix}.efi.signed")
    signed = _data(root, f"/usr/lib/grub/{platform}-signed/grub{suffix}.efi.signed")
    if shim is None or signed is None:
        whole = _data(root, f"/usr/lib/grub/{platform}/monolithic/grub{suffix}.efi")
        if whole is None:
            return {}
        return {
            loader: whole,
            "EFI/BOOT/grub.cfg": templates.files["esp.cfg"],
            f"EFI/{_vendor(whole)}/grub.cfg": templates.files["esp.cfg"],
        }
    files = {f"grub{suffix}.efi": signed, "grub.cfg": templates.files["esp.cfg"]}
    for name in (f"mm{suffix}.efi.signed", f"mm{suffix}.efi"):
        manager = _data(root, f"/usr/lib/shim/{name}")
        if manager is not None:
            files[f"mm{suffix}.efi"] = manager
            break
    vendor = _vendor(signed)
    return {
        loader: shim,
        **{f"EFI/BOOT/{name}": data for name, data in files.items()},
        f"EFI/{vendor}/shim{suffix}.efi": shim,
        **{f"EFI/{vendor}/{name}": data for name, data in files.items()},
    }


def _vendor(image: bytes) -> str:
    """The directory in which an image of GRUB looks for its configuration, wherever it was started from."""
    return "ubuntu" if b"/EFI/ubuntu" in image else "debian"


def _modules(root: Node, boot: BootFiles, architecture: str) -> dict[PurePosixPath, bytes]:
    """GRUB's modules where GRUB looks for those that its images do not have."""
    platforms = ["i386-pc"] if boot.core is not None else []
    if boot.esp:
        platforms.append(_EFI[architecture][0])
    files = {}
    for platform in platforms:
        for name, data in _files_of(root, f"/usr/lib/grub/{platform}").items():
            if name.endswith((".mod", ".lst")):
                files[PurePosixPath("/boot/grub", platform, name)] = data
    if boot.core is not None and boot.boot is not None:  # where packages look whether GRUB is in use
        files[PurePosixPath("/boot/grub/i386-pc/boot.img")] = boot.boot
        files[PurePosixPath("/boot/grub/i386-pc/core.img")] = boot.core
    return files


_ENVIRONMENT_BLOCK: Final = b"# GRUB Environment Block\n".ljust(1024, b"#")
"""As grub-editenv(1) creates it."""


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def _defaults(command_line: str, options: Mapping[str, str], templates: BootTemplates) -> bytes:
    return (
        "# From dibo. After a change here, run update-grub.\n"
        f"GRUB_TIMEOUT={_quoted(options.get('DIBO_GRUB_TIMEOUT') or '1')}\n"
        f"GRUB_CMDLINE_LINUX={_quoted(command_line)}\n"
    ).encode() + templates.files["default-grub"]


def _menu(root: Node, entries: list[tuple[str, str]], command_line: str, options: Mapping[str, str]) -> bytes:
    """As the flavour `boot-files` writes it: dibo.disk.grub_cfg makes it fit the disk."""
    name = os_release(root).get("PRETTY_NAME", "Linux").replace("'", "")
    timeout = options.get("DIBO_GRUB_TIMEOUT") or "1"
    lines = [
        "# Made with the image. update-grub replaces it.",
        "set default=0",
        f"set timeout={timeout}",
        'if [ "$grub_platform" = pc ]; then',
        "\tif serial --unit=0 --speed=115200; then",
        "\t\tterminal_input --append serial",
        "\t\tterminal_output --append serial",
        "\tfi",
        "fi",
    ]
    for version, initramfs in entries:
        lines += [
            f"menuentry '{name}, Linux {version}' {{",
            '\tsearch --no-floppy --label cloudimg-rootfs --set=root --hint="$root"',
            f"\tlinux /boot/vmlinuz-{version} root=LABEL=cloudimg-rootfs ro {command_line}",
            f"\tinitrd /boot/{initramfs}",
            "}",
        ]
    return ("\n".join(lines) + "\n").encode()


def _fstab(root: Node) -> bytes:
    """Without lines for / and /boot, which would be another machine's; with those of this disk."""
    kept = [
        line
        for line in (_data(root, "/etc/fstab") or b"").splitlines()
        if not line.startswith(b"# UNCONFIGURED") and not _is_of_a_disk(line)
    ]
    return b"\n".join([*kept, b"LABEL=cloudimg-rootfs / auto defaults 0 1", _ESP_LINE, b""])


_ESP_LINE: Final = b"LABEL=UEFI /boot/efi vfat umask=0077,nofail 0 1"
"""nofail: the same root also boots from a disk without an EFI system partition."""


def _is_of_a_disk(line: bytes) -> bool:
    fields = line.split()
    if len(fields) < 2 or fields[0].startswith(b"#"):
        return False
    return fields[1] in (b"/", b"/boot") or fields[1].startswith(b"/boot/")


def _identities(root: Node) -> Iterator[PurePosixPath]:
    for path in _IDENTITIES:
        if path != "/etc/machine-id" and _is_file(find(root, path)):
            yield PurePosixPath(path)
    for name in names_in(root, "/etc/ssh"):
        text = name.decode(errors="surrogateescape")
        if text.startswith("ssh_host_") and text.endswith(("_key", "_key.pub")):
            yield PurePosixPath("/etc/ssh", text)


def _is_file(node: Node | None) -> bool:
    return node is not None and stat.S_ISREG(node.mode)


def _files_of(root: Node, path: str) -> dict[str, bytes]:
    """The plain files of a directory whose bytes are in memory."""
    return {
        name.decode(errors="surrogateescape"): data
        for name in names_in(root, path)
        if (data := _data(root, f"{path}/{name.decode(errors='surrogateescape')}")) is not None
    }


def _data(root: Node, path: str) -> bytes | None:
    node = find(root, path.encode(errors="surrogateescape"))
    return node.data if node is not None and stat.S_ISREG(node.mode) else None

"""Boot files for a root that no flavour of dibo prepared: nothing of it is run.

What the flavour `boot-files` does in a step, done to a tree in memory, and more: the root may have any of the shapes in
dibo.boot.kernels, and any of the boot loaders in dibo.boot.find.

    find_boot_parts ──► entries (kernels; an initramfs is made where there is none)
                    ──► boot loaders, by what there is and what the user asks for
                    ──► files of the EFI system partition, files of the root, files that go
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Final

from dibo.boot import grub, systemd_boot
from dibo.boot.boot_files import BootFiles
from dibo.boot.bootable import require_bootable
from dibo.boot.entries import MenuEntry, bytes_of, command_line, entries_of, token_of
from dibo.boot.options import BootLoader
from dibo.boot.parts import FIRMWARE, BootParts
from dibo.boot.prepared import PreparedRoot
from dibo.boot.root_files import (
    IS_ON_ROOT_DISK,
    MACHINE_ID,
    RULES,
    Additions,
    fstab_of,
    growth,
    has_udev,
    identities,
)
from dibo.errors import RootNotBootable
from dibo.tree.node import Node
from dibo.tree.query import find

_GRUB_PROGRAMS: Final = (PurePosixPath("/usr/lib/dibo/grub-probe"), PurePosixPath("/etc/grub.d/00_dibo"))
_UNIT: Final = PurePosixPath("/etc/systemd/system/dibo-ssh-host-keys.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class BootTemplates:
    """Files of dibo that go into a root as they are, or tell how its boot files are made."""

    files: Mapping[str, bytes]
    """Those of the flavour `boot-files`, by name."""
    host_keys_unit: bytes
    """A systemd unit that makes missing SSH host keys."""
    init: bytes
    """/init of an initramfs that finds a root."""
    growing: Mapping[str, bytes]
    """What of the flavour `base` grows a root, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootWish:
    """What is wished for, and what decides how it is made."""

    architecture: str
    options: Mapping[str, str] = field(default_factory=dict)
    """DIBO_CMDLINE and DIBO_GRUB_TIMEOUT, where they are set."""
    loader: BootLoader = BootLoader.AUTO
    filesystem: str = "ext4"
    """The root's."""
    epoch: int = 0
    """Of an initramfs that is made, in seconds since 1970."""
    sign: Callable[[bytes], bytes] | None = None
    """Signs unified kernel images that are made, and an unsigned boot loader for UEFI."""


def prepare(root: Node, parts: BootParts, templates: BootTemplates, wish: BootWish) -> PreparedRoot:
    """Make what is missing. `parts` are those of the root, or of the root and a kit.

    Raises RootNotBootable where no kernel has an initramfs and none can be made, or no boot loader's files are all
    there: an engine may be able to make them (`preparable`). Raises BytesMissing where the tree was loaded without the
    bytes of files that are needed.
    """
    if wish.loader is BootLoader.NONE:
        return PreparedRoot(
            boot=BootFiles(is_wanted=False), summary="no boot loader, as asked for (--boot none)"
        )
    require_bootable(root, parts)
    entries = entries_of(root, parts, options=wish.options, init=templates.init, epoch=wish.epoch)
    choice = _Loaders.of(parts, entries, wish)
    boot = choice.boot_files(root, templates, wish)
    grows = growth(root, templates.growing, filesystem=wish.filesystem)
    made = _of_root(root, choice, boot, templates, wish)
    made = replace(
        made,
        files={**made.files, **grows.files},
        programs={**made.programs, **grows.programs},
        links={**made.links, **grows.links},
    )
    return PreparedRoot(
        boot=boot,
        files=made.files,
        programs=made.programs,
        links=made.links,
        removed=(*identities(root), *(grub.stale_menus(root) if choice.has_grub else ())),
        summary=choice.summary(),
        notes=(grows.note,) if grows.note else (),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaders:
    """Which boot loader each firmware gets; for UEFI `grub`, `systemd-boot`, `uki`, or None."""

    parts: BootParts
    entries: tuple[MenuEntry, ...]
    bios: bool
    uefi: BootLoader | None
    made_unified: bool = False

    @classmethod
    def of(cls, parts: BootParts, entries: tuple[MenuEntry, ...], wish: BootWish) -> _Loaders:
        asked = wish.loader
        bios = bool(parts.grub_bios and entries) and asked in (BootLoader.AUTO, BootLoader.GRUB)
        can = {
            BootLoader.GRUB: parts.grub_efi is not None and bool(entries),
            BootLoader.SYSTEMD_BOOT: parts.systemd_boot is not None and bool(entries or parts.unified),
            BootLoader.UKI: bool(parts.unified) or (parts.stub is not None and bool(entries)),
        }
        if asked is BootLoader.AUTO:
            uefi = next((loader for loader, possible in can.items() if possible), None)
        else:
            uefi = asked if can[asked] else None
        if uefi is None and not bios:
            raise _cannot(parts, asked)
        made = uefi is BootLoader.UKI and not parts.unified
        return cls(parts=parts, entries=entries, bios=bios, uefi=uefi, made_unified=made)

    @property
    def has_grub(self) -> bool:
        return self.bios or self.uefi is BootLoader.GRUB

    def boot_files(self, root: Node, templates: BootTemplates, wish: BootWish) -> BootFiles:
        with_grub = self.uefi is BootLoader.GRUB
        parts = self.parts if self.bios else replace(self.parts, grub_bios={})
        boot = grub.boot_files(parts, templates.files, with_uefi=with_grub)
        token = token_of(root)
        if self.uefi is BootLoader.SYSTEMD_BOOT:
            esp = {
                **systemd_boot.loader_files(self.parts, wish.options),
                **systemd_boot.entry_files(self.entries, token=token, architecture=wish.architecture),
                **systemd_boot.unified_files(self.parts),
            }
            boot = replace(boot, esp=esp)
        elif self.uefi is BootLoader.UKI:
            boot = self._with_unified(root, boot, token, wish)
        if wish.sign is not None:
            boot = replace(boot, esp=signed(boot.esp, wish.sign, is_signed=self._is_signed))
        return boot

    def _with_unified(self, root: Node, boot: BootFiles, token: str, wish: BootWish) -> BootFiles:
        """Images as they are, or made; by systemd-boot where the root has it, else the newest one by itself."""
        first = f"EFI/BOOT/BOOT{FIRMWARE[wish.architecture].upper()}.EFI"
        by_loader = self.parts.systemd_boot is not None
        esp = systemd_boot.loader_files(self.parts, wish.options) if by_loader else {}
        if not self.made_unified:
            files = systemd_boot.unified_files(self.parts)
            if not by_loader:
                files = {first: bytes_of(self.parts.unified[0])}
            return replace(boot, esp={**esp, **files})
        kernels = systemd_boot.unified_kernels(root, self.parts, self.entries, token=token, sign=wish.sign)
        if not by_loader:
            kernels = {first: next(iter(kernels.values()))}
        return replace(boot, esp=esp, unified=kernels)

    @property
    def _is_signed(self) -> bool:
        loader = {
            BootLoader.GRUB: self.parts.grub_efi,
            BootLoader.SYSTEMD_BOOT: self.parts.systemd_boot,
            BootLoader.UKI: self.parts.systemd_boot,
        }.get(self.uefi or BootLoader.NONE)
        return loader is not None and loader.signed

    def summary(self) -> str:
        """One line: kernel, initramfs, boot loader."""
        words = []
        if self.entries and not (self.uefi is BootLoader.UKI and not self.made_unified and not self.bios):
            words.append(f"Linux {self.entries[0].kernel.version}")
            initramfs = "made" if self.entries[0].made is not None else "found"
            words.append(f"initramfs {initramfs}")
        if self.uefi in (BootLoader.UKI, BootLoader.SYSTEMD_BOOT) and self.parts.unified:
            words.append(f"unified kernel image {self.parts.unified[0].path} as it is")
        if self.bios:
            words.append("GRUB for BIOS")
        match self.uefi:
            case BootLoader.GRUB:
                loader = self.parts.grub_efi
                shim = " with shim" if loader is not None and loader.shim is not None else ""
                words.append(f"GRUB{shim} for UEFI")
            case BootLoader.SYSTEMD_BOOT:
                words.append("systemd-boot for UEFI")
            case BootLoader.UKI:
                how = "unified kernel image made" if self.made_unified else "no other loader"
                words.append(
                    f"{how}, started by {'systemd-boot' if self.parts.systemd_boot else 'the firmware'}"
                )
        return ", ".join(words)


def signed(esp: Mapping[str, bytes], sign: Callable[[bytes], bytes], *, is_signed: bool) -> dict[str, bytes]:
    """Programs of an unsigned boot loader get the signature of the user; unified kernel images stay as they are."""
    if is_signed:
        return dict(esp)
    return {
        path: sign(data) if path.lower().endswith(".efi") and not path.startswith("EFI/Linux/") else data
        for path, data in esp.items()
    }


def _cannot(parts: BootParts, asked: BootLoader) -> RootNotBootable:
    missing = {
        BootLoader.AUTO: f"no boot loader for {parts.architecture} that can be used as it is",
        BootLoader.GRUB: f"no GRUB for {parts.architecture} that can be used as it is",
        BootLoader.SYSTEMD_BOOT: f"no systemd-boot for {parts.architecture} in /usr/lib/systemd/boot/efi",
        BootLoader.UKI: "neither a unified kernel image nor systemd-stub, of which one is made"
        " (/usr/lib/systemd/boot/efi/linux*.efi.stub)",
    }[asked]
    has_whole_grub = parts.architecture not in ("armhf", "riscv64")
    by_grub = asked is BootLoader.GRUB or (asked is BootLoader.AUTO and has_whole_grub)
    package = "grub-pc-bin or grub-efi-…-bin" if by_grub else "systemd-boot-efi"
    return RootNotBootable(
        f"the root has a kernel, but {missing}",
        hint=f"install {package} in the image, or let an engine make the files: --prepare",
        preparable=asked in (BootLoader.AUTO, BootLoader.GRUB),
    )


def _of_root(
    root: Node, choice: _Loaders, boot: BootFiles, templates: BootTemplates, wish: BootWish
) -> Additions:
    """What goes into the tree besides what makes it grow."""
    words = command_line(root, wish.architecture, wish.options)
    files: dict[PurePosixPath, bytes] = {PurePosixPath("/etc/fstab"): fstab_of(root)}
    programs: dict[PurePosixPath, bytes] = {}
    if has_udev(root):
        files[RULES] = templates.files[RULES.name]
        programs[IS_ON_ROOT_DISK] = templates.files[IS_ON_ROOT_DISK.name]
    if choice.has_grub:
        files |= grub.tree_files(root, choice.entries, templates.files, wish.options, words)
        files |= grub.modules(root, choice.parts, boot)
        if grub.is_of_debian(root):
            programs |= {path: templates.files[path.name] for path in _GRUB_PROGRAMS}
    else:
        files[PurePosixPath("/etc/kernel/cmdline")] = f"{systemd_boot.ROOT} ro {words}\n".encode()
        files[PurePosixPath("/etc/kernel/entry-token")] = f"{token_of(root)}\n".encode()
    links: dict[PurePosixPath, bytes] = {}
    if find(root, "/usr/sbin/sshd") is not None and find(root, "/etc/systemd/system") is not None:
        files[_UNIT] = templates.host_keys_unit
        for wanted_by in ("multi-user.target", "ssh.service"):
            links[_UNIT.parent / f"{wanted_by}.wants" / _UNIT.name] = f"../{_UNIT.name}".encode()
    if find(root, str(MACHINE_ID)) is not None:
        files[MACHINE_ID] = b""
    return Additions(files=files, programs=programs, links=links)

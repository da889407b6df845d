"""What a tree can boot with: the values of the answer that dibo.boot.find gives."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from dibo.tree.node import Node
from dibo.tree.query import find

FIRMWARE: Final = {"amd64": "x64", "arm64": "aa64", "i386": "ia32", "riscv64": "riscv64", "armhf": "arm"}
"""The firmware's suffix of an architecture (UEFI 2.10, 3.5.1.1)."""
ESP_PLACES: Final = ("/boot/efi", "/efi", "/boot")
"""Where roots have their EFI system partition, so where an image may have files for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file of a tree, found at `path`, symbolic links followed."""

    path: str
    node: Node

    @property
    def data(self) -> bytes | None:
        """Its bytes; None where the tree was loaded without them."""
        return self.node.data if self.node.size or self.node.data is not None else b""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootKernel:
    """A kernel of `tree`."""

    version: str
    """What its modules are called: `6.1.0-13-amd64`; of a kernel whose modules are not known, the end of its name."""
    image: Part
    initramfs: tuple[Part, ...] = ()
    """Those that belong in memory one behind the other; none where the tree has none."""
    modules: str | None = None
    """The directory of its modules, with an index of them; None where there is none."""
    arguments: tuple[str, ...] = ()
    """What the tree says that this kernel must be told, without root=."""
    tree: Node = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EfiLoader:
    """A boot loader for UEFI, and what of shim goes with it."""

    image: Part
    signed: bool = False
    vendor: str = ""
    """The directory of the EFI system partition where it looks for its configuration; empty for what its bytes say."""
    shim: Part | None = None
    manager: Part | None = None
    """MokManager, which shim starts by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootParts:
    """All that a tree has for booting on machines of `architecture`."""

    architecture: str
    kernels: tuple[BootKernel, ...] = ()
    """The newest first."""
    unified: tuple[Part, ...] = ()
    """Unified kernel images for this architecture by their names, the newest first."""
    grub_bios: Mapping[str, Part] = field(default_factory=dict)
    """GRUB's files for BIOS (i386-pc), by name."""
    grub_efi: EfiLoader | None = None
    grub_modules: tuple[str, ...] = ()
    """Directories of GRUB's modules for each platform: /usr/lib/grub/i386-pc."""
    systemd_boot: EfiLoader | None = None
    stub: Part | None = None
    """systemd-stub, of which unified kernel images are made."""
    has_init: bool = False
    """Whether the tree has a program that a kernel starts by itself."""

    def completed_by(self, kit: BootParts) -> BootParts:
        """These, and of a kit what is missing here: kernels as a whole, and each loader by itself."""
        has_kernel = bool(self.kernels or self.unified)
        return replace(
            self,
            kernels=self.kernels if has_kernel else kit.kernels,
            unified=self.unified if has_kernel else kit.unified,
            grub_bios=self.grub_bios or kit.grub_bios,
            grub_efi=self.grub_efi or kit.grub_efi,
            grub_modules=self.grub_modules or kit.grub_modules,
            systemd_boot=self.systemd_boot or kit.systemd_boot,
            stub=self.stub or kit.stub,
            has_init=self.has_init or kit.has_init,
        )

    @property
    def is_complete(self) -> bool:
        """Whether a disk of these boots with nothing to be made but configuration."""
        loads = bool(self.grub_bios) or self.grub_efi is not None or self.systemd_boot is not None
        return bool(self.unified) or (loads and any(kernel.initramfs for kernel in self.kernels))


def part_at(root: Node, path: str) -> Part | None:
    """The plain file at `path`, symbolic links followed; None where there is none."""
    node = find(root, path.encode(errors="surrogateescape"))
    return Part(path=path, node=node) if node is not None and stat.S_ISREG(node.mode) else None

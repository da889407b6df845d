"""A flavour, as its author wrote it.

    my-flavour/
        README.md
        flavour.yaml               what it is, needs and installs; all optional
        install.d/10-web           a hook: digits, a dash, words; executable
        install.d/site.conf        data, which hooks read beside themselves
        files/…                    any other directory is data too

These values hold no path of the host but `origin`, no times and no modes beyond "executable": what is in them is what
keys are made of. Reading them from a disk is dibo.flavours.loader's work; understanding flavour.yaml is
dibo.flavours.schema's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from dibo.layout.parse import Statement

FLAVOUR_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,62}")
HOOK_NAME: Final = re.compile(r"[0-9]+-[A-Za-z0-9_-]+")
ARCHITECTURES: Final = ("amd64", "arm64", "i386")


class Phase(StrEnum):
    """The phases, in the order they run. The values are directory names."""

    BLOCK_DEVICE_SIZE = "block-device-size.d"
    BLOCK_DEVICE = "block-device.d"
    EXTRA_DATA = "extra-data.d"
    PRE_INSTALL = "pre-install.d"
    INSTALL = "install.d"
    FIRST_BOOT = "first-boot.d"


HOST_PHASES: Final = (Phase.BLOCK_DEVICE_SIZE, Phase.BLOCK_DEVICE, Phase.EXTRA_DATA)
LAYER_PHASES: Final = (Phase.PRE_INSTALL, Phase.INSTALL, Phase.FIRST_BOOT)


class Kind(StrEnum):
    """What a file of a flavour is. Nothing else is allowed in one."""

    FILE = "file"
    SYMLINK = "symlink"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class File:
    """One file of a flavour. `path` is relative to the flavour, with `/`; `digest` is the sha256, in hexadecimal, of
    its bytes or, for a symbolic link, of its target."""

    path: str
    kind: Kind
    executable: bool
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One script of a phase."""

    phase: Phase
    name: str

    @property
    def path(self) -> str:
        """Relative to the flavour."""
        return f"{self.phase}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """A flavour that was read and found in order."""

    name: str
    origin: Path = field(compare=False)
    summary: str = ""
    files: tuple[File, ...] = ()
    """All that hooks can see."""
    ramdisk: tuple[File, ...] = ()
    """Those for ramdisks, which no hook sees (dibo.flavours.ramdisk_requests)."""
    hooks: tuple[Hook, ...] = ()
    data: tuple[str, ...] = ()
    """Files in phase directories that are not hooks."""
    packages: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(distribution or "default", package names), sorted by distribution."""
    needs: tuple[str, ...] = ()
    clashes: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    """(name, default), sorted by name."""
    local: bool = False
    architectures: tuple[str, ...] = ()
    disk: Statement | None = None
    """What it says about the disk: under `disk`, or in layout.yaml."""

    def hooks_of(self, phase: Phase) -> tuple[Hook, ...]:
        """The hooks of one phase, in the order of their names."""
        return tuple(hook for hook in self.hooks if hook.phase is phase)

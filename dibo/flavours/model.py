"""A flavour, as its author wrote it.

    my-flavour/
        README.md
        flavour.yaml               what it is, needs and installs; all optional
        .dibo-ignore               what is no part of it, as in .gitignore
        install.d/10-web           a hook: digits, a dash, words; executable
        install.d/site.conf        data, which hooks read beside themselves
        files/…                    any other directory is data too

These values hold no path of the host but `origin` and `copy`, no times and no modes beyond "executable" and "private":
what is in them is what keys are made of. Reading them from a disk is the work of dibo.flavours.loader; understanding
flavour.yaml that of dibo.flavours.schema.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from dibo.layout.parse import Statement

FLAVOUR_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,62}")
NAME_FORM: Final = "use a-z, 0-9, '_', '.', '+' and '-', at most 63, and begin with a letter or digit"
HOOK_NAME: Final = re.compile(r"[0-9]+-[A-Za-z0-9_-]+")
SECRET_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
ARCHITECTURES: Final = ("amd64", "arm64", "armhf", "i386", "riscv64")


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
_IN_ROOT: Final = (Phase.PRE_INSTALL, Phase.INSTALL)
_PHASES: Final = frozenset(phase.value for phase in Phase)
NETWORK_PHASES: Final = (*(phase.value for phase in _IN_ROOT), "finalise")
"""Of steps that run in the root what flavours bring, and so may use the network."""
FETCHED: Final = "fetched"
"""The directory, beside a flavour's files, in which hooks see what was fetched for it."""


class FlavourKind(StrEnum):
    """What a file of a flavour is. Nothing else is allowed in one."""

    FILE = "file"
    SYMLINK = "symlink"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class FlavourFile:
    """One file of a flavour. `path` is relative to the flavour, with `/`; `digest` is the sha256, in hexadecimal, of
    its bytes or, for a symbolic link, of its target."""

    path: str
    kind: FlavourKind
    executable: bool
    digest: str
    private: bool = False
    """Whether it is for its owner alone: extra data of mode 0600."""
    target: str = ""
    """Of a symbolic link, as it is written."""

    @property
    def mode(self) -> int:
        """What a step sees."""
        return (0o755 if self.executable else 0o644) & (0o700 if self.private else 0o777)


def is_seen(path: str, phase: Phase) -> bool:
    """Whether a step of `phase` sees a file of a flavour. First-boot hooks are only copied, and hooks on the host are
    run by dibo, so steps see neither; of another phase they see the data, and not the hooks."""
    top, _, name = path.partition("/")
    if phase is Phase.FIRST_BOOT:
        return top == phase
    if top not in _PHASES or top == phase:
        return True
    return top in _IN_ROOT and HOOK_NAME.fullmatch(name) is None


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Secret:
    """A value that a step sees at /run/secrets/NAME, and that is nowhere else."""

    name: str
    rebuild: bool = False
    """Whether layers are built again when the value changes."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class FetchedFile:
    """A file that dibo fetches before the steps that see it, known by its sha256 in hexadecimal."""

    name: str
    sha256: str
    executable: bool = False
    urls: tuple[str, ...] = field(compare=False)
    """Where it is, the first that has it counts."""
    architectures: tuple[str, ...] = ()
    """Those that it is for; none for all."""
    phases: tuple[str, ...] = ()
    """Those whose hooks see it; none for all that run in the root."""

    @property
    def mode(self) -> int:
        """What a step sees."""
        return 0o755 if self.executable else 0o644


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
    copy: Path | None = field(default=None, compare=False)
    """Where dibo's own copy of its files is, taken when they were read, once."""
    summary: str = ""
    declarations: tuple[FlavourFile, ...] = ()
    """flavour.yaml and layout.yaml, which dibo reads and no hook sees."""
    files: tuple[FlavourFile, ...] = ()
    """All that hooks can see; see `seen_in` for those of one phase."""
    ramdisk: tuple[FlavourFile, ...] = ()
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
    secrets: tuple[Secret, ...] = ()
    """Sorted by name."""
    local: bool = False
    architectures: tuple[str, ...] = ()
    fetch: tuple[FetchedFile, ...] = ()
    """What dibo fetches for its hooks, and for those of flavours that need it."""
    network: tuple[str, ...] | None = None
    """The phases in which its steps may use the network; None, where it does not say, for all."""
    disk: Statement | None = None
    """What it says about the disk: under `disk`, or in layout.yaml."""

    @property
    def host_phases(self) -> tuple[Phase, ...]:
        """Those of its phases whose hooks run on the machine that builds."""
        return tuple(phase for phase in HOST_PHASES if self.hooks_of(phase))

    def hooks_of(self, phase: Phase) -> tuple[Hook, ...]:
        """The hooks of one phase, in the order of their names."""
        return tuple(hook for hook in self.hooks if hook.phase is phase)

    @property
    def directory(self) -> Path:
        """Where its files are read from."""
        return self.copy or self.origin

    def may_use_network(self, phase: str) -> bool:
        """Whether its steps of a phase may; `finalise` runs what it left to be done there."""
        return self.network is None or phase in self.network

    def fetched_for(self, architecture: str) -> tuple[FetchedFile, ...]:
        """What is fetched in builds for an architecture."""
        return tuple(
            file for file in self.fetch if not file.architectures or architecture in file.architectures
        )

    def fetched_in(self, phase: Phase, architecture: str) -> tuple[FetchedFile, ...]:
        """What of that a step of `phase` sees."""
        return tuple(
            file
            for file in self.fetched_for(architecture)
            if phase in _IN_ROOT and (not file.phases or phase in file.phases)
        )

    def seen_in(self, phase: Phase) -> tuple[FlavourFile, ...]:
        """The files that a step of `phase` sees: those that are for it, and what links among them lead to."""
        known = {file.path: file for file in self.files}
        seen = {path for path in known if is_seen(path, phase)}
        waiting = [known[path] for path in seen]
        while waiting:
            led_to = _led_to(waiting.pop(), known) - seen
            seen |= led_to
            waiting += [known[path] for path in led_to]
        return tuple(file for file in self.files if file.path in seen)


def _led_to(file: FlavourFile, known: Mapping[str, FlavourFile]) -> set[str]:
    """The files that a link leads to: one, or all of a directory."""
    if file.kind is not FlavourKind.SYMLINK or file.target.startswith("/"):
        return set()
    target = posixpath.normpath(posixpath.join(posixpath.dirname(file.path), file.target))
    return {path for path in known if path == target or path.startswith(f"{target}/")}

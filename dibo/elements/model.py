"""An element of diskimage-builder, as its author wrote it.

    my-element/
        element-deps                names of other elements, one a line
        element-provides            names that it stands for, such as operating-system
        environment.d/10-name       sourced by bash before every phase
        install.d/50-name           a script: executable, a name of letters, digits, `_` and `-`
        package-installs.yaml  pkg-map  svc-map  source-repository-*  block-device-*.yaml
        bin/  static/  init-scripts/   data that elements of diskimage-builder itself copy into the image

The phases run in the order of ElementPhase, each over all elements. Some run in the image, some outside of it, on its
tree (developer/developing_elements.html of diskimage-builder's documentation).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from dibo.flavours.model import FlavourFile, FlavourKind

ELEMENT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,127}")
SCRIPT_NAME: Final = re.compile(r"[0-9A-Za-z_-]+")
"""Of scripts in phases: what dib-run-parts runs."""
ENVIRONMENT: Final = "environment.d"
SETTING_NAME: Final = re.compile(r"[0-9A-Za-z_.-]+")
"""Of files in environment.d."""
OPERATING_SYSTEM: Final = "operating-system"


class ElementPhase(StrEnum):
    """The phases, in the order they run. The values are names of directories."""

    ROOT = "root.d"
    EXTRA_DATA = "extra-data.d"
    PRE_INSTALL = "pre-install.d"
    INSTALL = "install.d"
    POST_INSTALL = "post-install.d"
    POST_ROOT = "post-root.d"
    BLOCK_DEVICE = "block-device.d"
    PRE_FINALISE = "pre-finalise.d"
    FINALISE = "finalise.d"
    CLEANUP = "cleanup.d"

    @property
    def is_outside(self) -> bool:
        """Whether its scripts run outside the image, on its tree."""
        return self not in _INSIDE


_INSIDE: Final = (
    ElementPhase.PRE_INSTALL,
    ElementPhase.INSTALL,
    ElementPhase.POST_INSTALL,
    ElementPhase.FINALISE,
)
PHASES: Final = tuple(phase.value for phase in ElementPhase)
MARKS: Final = (
    *("element-deps", "element-provides", "package-installs.yaml", "package-installs.json", "pkg-map"),
    *("svc-map", ENVIRONMENT, "static", "init-scripts"),
    *("root.d", "post-install.d", "post-root.d", "pre-finalise.d", "finalise.d", "cleanup.d"),
)
"""What no flavour has and elements have, one or more of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """An element that was read."""

    name: str
    origin: Path = field(compare=False)
    copy: Path | None = field(default=None, compare=False)
    """Where dibo's own copy of its files is, taken when they were read, once."""
    group: int = 0
    """The place of its directory on the search path."""
    files: tuple[FlavourFile, ...] = ()
    needs: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    flavours: tuple[str, ...] = ()
    """Flavours that do what it stands for; only elements that come with dibo name any."""
    base: str = ""
    """The base that it stands for; only operating systems that come with dibo name one."""

    @property
    def directory(self) -> Path:
        """Where its files are read from."""
        return self.copy or self.origin

    def scripts_of(self, phase: ElementPhase) -> tuple[str, ...]:
        """Names of what dib-run-parts runs in a phase."""
        names = []
        for file in self.files:
            top, _, name = file.path.partition("/")
            if top == phase and is_script(file):
                names.append(name)
        return tuple(names)


def is_script(file: FlavourFile) -> bool:
    """Whether a file in the directory of a phase runs."""
    _, _, name = file.path.partition("/")
    runs = file.executable or file.kind is FlavourKind.SYMLINK
    return runs and SCRIPT_NAME.fullmatch(name) is not None

"""Flavours and elements in one stack."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from dibo.elements.disk import ElementDisk
from dibo.elements.model import Element
from dibo.elements.steps import ElementStep
from dibo.flavours.stack import Stack
from dibo.layout.model import Layout

_OF_USERS: Final = re.compile(r"(?!DIBO_)([A-Z][A-Z0-9_]{2,}|DIB_\w+)", re.ASCII)
_NEVER: Final = frozenset(
    (
        *(
            "HOME",
            "PATH",
            "PWD",
            "OLDPWD",
            "USER",
            "LOGNAME",
            "SHELL",
            "SHLVL",
            "TERM",
            "LANG",
            "LANGUAGE",
            "TMPDIR",
        ),
        *(
            "ELEMENTS_PATH",
            "FLAVOURS_DIR",
            "IMG_PATH",
            "VIRTUAL_ENV",
            "PYTHONPATH",
            "SOURCE_DATE_EPOCH",
            "HOSTNAME",
        ),
        *(
            "IMAGE_NAME",
            "IMAGE_TYPE",
            "IMAGE_SIZE",
            "ARCH",
            "BASH_ENV",
            "ENV",
            "IFS",
            "DISPLAY",
            "EDITOR",
            "PAGER",
        ),
        *(
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "NO_PROXY",
            "FTP_PROXY",
            "ALL_PROXY",
            "DIB_IMAGE_CACHE",
            "DIB_LOCKFILES",
        ),
    )
)
"""What dibo itself says, or what is of the user's session; proxies are given to every step, and in no key."""


NO_FINAL_IMAGE: Final = "no-final-image"
"""The element with which no disk is made: another one leaves its files beside the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedStack(Stack):
    """Flavours in order, and elements with their steps."""

    elements: tuple[Element, ...] = ()
    element_steps: tuple[ElementStep, ...] = ()
    base: str = ""
    """The base that its operating system stands for, if that comes with dibo."""
    release: str | None = None
    container_build: tuple[tuple[str, str], ...] = ()
    """How a base is built that is a Containerfile: variables with their values."""
    disk_of_elements: ElementDisk | None = None
    """As an element, or DIB_BLOCK_DEVICE_CONFIG, describes it."""

    @property
    def layout(self) -> Layout | None:
        """Of that disk; None for one without partitions."""
        return self.disk_of_elements.layout if self.disk_of_elements is not None else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings."""
        return self.disk_of_elements.notes if self.disk_of_elements is not None else ()

    @property
    def all_names(self) -> tuple[str, ...]:
        return (*(element.name for element in self.elements), *self.names)


def users_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Those of the user's variables that scripts of elements may see, where they speak of them."""
    return {
        name: value
        for name, value in environment.items()
        if _OF_USERS.fullmatch(name) and name not in _NEVER and not name.startswith(("LC_", "XDG_", "SSH_"))
    }


def without_users_variables(environment: Mapping[str, str], *, kept: Collection[str]) -> dict[str, str]:
    """The environment without what scripts of elements would see of it, but for names in `kept`."""
    hidden = users_variables(environment).keys() - set(kept)
    return {name: value for name, value in environment.items() if name not in hidden}

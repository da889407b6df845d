"""The Containerfile that the element `containerfile` of diskimage-builder makes the root of: that which
DIB_CONTAINERFILE_DOCKERFILE names, or the first `containerfiles/RELEASE` of an element.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.elements.environment import read_environment
from dibo.elements.model import Element
from dibo.errors import UsageError
from dibo.system.resources import expanded

BASE: Final = "containerfile"
"""In `dibo-base` of the element."""
_FILE: Final = "DIB_CONTAINERFILE_DOCKERFILE"
_RELEASE: Final = "DIB_RELEASE"
OPTIONS: Final = ("DIB_CONTAINER_CONTEXT", "DIB_CONTAINERFILE_NETWORK_DRIVER", "DIB_CONTAINERFILE_BUILDOPTS")


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementContainer:
    path: Path
    """The Containerfile."""
    release: str
    options: tuple[tuple[str, str], ...]
    """The variables of `OPTIONS`, with their values."""


def read_container(elements: tuple[Element, ...], environment: Mapping[str, str]) -> ElementContainer:
    """What is built, where `environment` is what scripts see beside environment.d. Raises UsageError, FlavourError,
    StackError."""
    variables = read_environment(elements, names=(_FILE, _RELEASE, *OPTIONS), environment=environment)
    release = variables.get(_RELEASE)
    named = variables.get(_FILE)
    path = expanded(named).absolute() if named else _of_release(elements, release)
    if not path.is_file():
        raise UsageError(f"{_FILE} names {path}, which is no file")
    options = tuple((name, variables.get(name)) for name in OPTIONS)
    return ElementContainer(path=path, release=release, options=options)


def _of_release(elements: tuple[Element, ...], release: str) -> Path:
    file = f"containerfiles/{release}"
    for element in elements:
        if release and any(candidate.path == file for candidate in element.files):
            return element.origin / file
    looked = f"no element of the stack has {file}" if release else f"{_RELEASE} is not set"
    raise UsageError(
        f"there is no Containerfile for the root: {_FILE} is not set, and {looked}",
        hint=f"set {_FILE}=FILE",
    )

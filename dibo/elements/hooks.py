"""The merged tree of hooks: what all elements have, in one tree, and the order in which scripts run.

Each directory of an element is merged with those of the same name. A script that two elements have by the same name is
an error. Files at the top of elements, and files deeper in data directories, overwrite those of earlier elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dibo.elements.model import PHASES, Element, ElementPhase
from dibo.errors import StackError
from dibo.flavours.model import FlavourFile

_DECLARATIONS: Final = ("element-deps", "element-provides", "dibo-flavours", "dibo-base")
_LEADING_NUMBER: Final = re.compile(r"-?[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFile:
    """A file of the merged tree, and the element that it is of."""

    element: str
    file: FlavourFile

    @property
    def path(self) -> str:
        return self.file.path


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementScript:
    """A script of a phase."""

    name: str
    element: str
    group: int
    """As `Element.group`."""


def merge_hooks(elements: Iterable[Element]) -> tuple[HookFile, ...]:
    """The merged tree, sorted by path. Raises StackError for a script or a setting that two elements have."""
    merged: dict[str, HookFile] = {}
    for element in elements:
        for file in element.files:
            if not _is_merged(file.path):
                continue
            before = merged.get(file.path)
            if before is not None and file.path.count("/") == 1:
                raise StackError(
                    f"There is a duplicated hook in your elements: {file.path} is in {before.element!r} and in "
                    f"{element.name!r}",
                    hint="all elements share one directory for each phase: rename one of the two",
                )
            merged[file.path] = HookFile(element=element.name, file=file)
    return tuple(merged[path] for path in sorted(merged))


def _is_merged(path: str) -> bool:
    return path not in _DECLARATIONS and not path.startswith("README")


def scripts_of(elements: Iterable[Element], phase: ElementPhase) -> tuple[ElementScript, ...]:
    """The scripts of a phase in the order they run: that of `sort -n` in the C locale."""
    scripts = [
        ElementScript(name=name, element=element.name, group=element.group)
        for element in elements
        for name in element.scripts_of(phase)
    ]
    return tuple(sorted(scripts, key=lambda script: sort_key(script.name)))


def sort_key(name: str) -> tuple[int, bytes]:
    """By leading number, then by bytes (sort(1), -n). A name without a number counts as 0."""
    match = _LEADING_NUMBER.match(name)
    return (int(match[0]) if match else 0, name.encode())


def in_phase(path: str) -> str:
    """The phase whose directory a file of the merged tree is in, or empty text."""
    top, separator, _ = path.partition("/")
    return top if separator and top in PHASES else ""

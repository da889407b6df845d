"""Finds elements on a search path and reads them, each once.

Every directory in a directory of ELEMENTS_PATH is an element, whatever it holds, as in diskimage-builder; in a
directory of flavours, one that has what only elements have. The first directory of a name counts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.elements.model import ELEMENT_NAME, MARKS, Element
from dibo.errors import FlavourError, UnknownFlavour, UsageError
from dibo.flavours.files import read_files

_NOT_READ: Final = ("tests/", "test-elements/", "__pycache__/")
_LIMIT: Final = 1 << 16  # bytes of a list of names


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementPlace:
    """Where an element is."""

    name: str
    path: Path
    group: int
    """The place of its directory on the search path."""
    is_own: bool
    """Whether it comes with dibo."""


class ElementCatalogue:
    """The elements on a search path. `own` is dibo's own directory of elements, searched first; `elements_path` that of
    the user; in `flavours_path`, elements are told from flavours by what they have. With `copies`, files of elements
    that are read are copied there. Raises UsageError for a directory that is none."""

    def __init__(
        self,
        elements_path: Iterable[Path],
        *,
        own: Path | None = None,
        flavours_path: Iterable[Path] = (),
        copies: Path | None = None,
    ) -> None:
        self._copies = copies
        self._places: dict[str, ElementPlace] = {}
        self._read: dict[str, Element] = {}
        self.search_path = tuple(dict.fromkeys(path.absolute() for path in elements_path))
        if own is not None:
            self._add(own, _directories(own), group=len(self.search_path), is_own=True)
        for group, directory in enumerate(self.search_path, start=1):
            if not directory.is_dir():
                raise UsageError(
                    f"ELEMENTS_PATH entry {str(directory)!r} is not a directory",
                    hint="ELEMENTS_PATH holds directories of elements, separated by colons",
                )
            self._add(directory, _directories(directory), group=group)
        for group, directory in enumerate(flavours_path, start=1 + len(self.search_path)):
            elements = [path for path in _directories(directory) if is_element(path)]
            self._add(directory, elements, group=group)

    def _add(self, directory: Path, elements: Iterable[Path], *, group: int, is_own: bool = False) -> None:
        for path in elements:
            place = ElementPlace(
                name=path.name, path=directory.absolute() / path.name, group=group, is_own=is_own
            )
            self._places.setdefault(path.name, place)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[ElementPlace]:
        return iter(sorted(self._places.values(), key=lambda place: place.name))

    def get(self, name: str) -> Element:
        """An element, read. Raises UnknownFlavour, FlavourError."""
        if name not in self._places:
            similar = difflib.get_close_matches(name, self._places, n=1)
            searched = ":".join(str(path) for path in self.search_path)
            raise UnknownFlavour(
                f"Element {name!r} not found" + (f"; did you mean {similar[0]!r}?" if similar else ""),
                hint=f"ELEMENTS_PATH is {searched or 'empty'}",
            )
        if name not in self._read:
            copy = None if self._copies is None else self._copies / name
            self._read[name] = load_element(self._places[name], copy=copy)
        return self._read[name]


def is_element(directory: Path) -> bool:
    """Whether a directory has what only elements have."""
    return not (directory / "flavour.yaml").exists() and any((directory / mark).exists() for mark in MARKS)


def load_element(place: ElementPlace, *, copy: Path | None = None) -> Element:
    """Read one element, once. With `copy`, its files are in that new directory afterwards. Raises FlavourError."""
    files = read_files(place.path.resolve(), ignored=_is_ignored, copy=copy)
    own = place.path if place.is_own else None
    return Element(
        name=place.name,
        origin=place.path,
        copy=copy,
        group=place.group,
        files=files,
        needs=read_names(place.path / "element-deps"),
        provides=read_names(place.path / "element-provides"),
        flavours=read_names(own / "dibo-flavours") if own else (),
        base="".join(read_names(own / "dibo-base")) if own else "",
    )


def read_names(path: Path) -> tuple[str, ...]:
    """The names in a file, one a line, each once; none where there is no file. Raises FlavourError."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise FlavourError(f"cannot read {path}: {error.strerror}") from error
    if len(text) > _LIMIT:
        raise FlavourError(f"{path} is larger than {_LIMIT >> 10} KiB")
    names = dict.fromkeys(line.strip() for line in text.decode(errors="surrogateescape").splitlines())
    names.pop("", None)
    for name in names:
        if ELEMENT_NAME.fullmatch(name) is None:
            raise FlavourError(
                f"{path} has the line {name!a}, which is no name of an element",
                hint="write one name a line, without comments",
            )
    return tuple(names)


def _directories(directory: Path) -> list[Path]:
    try:
        entries = sorted(directory.iterdir())
    except OSError as error:
        raise FlavourError(f"cannot read the elements in {directory}: {error.strerror}") from error
    return [path for path in entries if path.is_dir() and ELEMENT_NAME.fullmatch(path.name)]


def _is_ignored(path: str) -> bool:
    return path in _NOT_READ or path.endswith(("/__pycache__/", ".pyc"))

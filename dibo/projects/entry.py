"""A value of a project file with where it is: typed access, and errors that name file, line and key.

    dibo.yaml:12: images.web.release: expected text, got the number 3.10; write "3.10", in quotes

YAML 1.1 takes `no` and `on` for booleans and `3.10` for the number 3.1; where text is expected, none of these is
accepted, since editors that read YAML 1.2 would show something else.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from dibo.errors import ProjectError, UsageError
from dibo.flavours.located_yaml import LocatedValue, YamlKind
from dibo.flavours.schema import nearest
from dibo.projects.model import Position
from dibo.system.resources import expanded

_NUMBER: Final = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_LONGEST: Final = 60
_STAYS: Final = "a relative path stays in the repository; write an absolute path for what is elsewhere"
"""Characters of a value in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFile:
    """A file that is read; relative paths in it begin at its directory, and stay below `top`."""

    path: Path
    top: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectEntry:
    """A value, the file and the path of keys where it is."""

    file: ProjectFile
    path: str
    value: LocatedValue

    @property
    def position(self) -> Position:
        return Position(file=self.file.path, line=self.value.line)

    @property
    def kind(self) -> YamlKind:
        return self.value.kind

    def fail(self, problem: str, *, hint: str = "") -> NoReturn:
        """Raises ProjectError."""
        path = f" {self.path}:" if self.path else ""
        raise ProjectError(f"{self.position}:{path} {problem}", hint=hint)

    def fail_kind(self, expected: str) -> NoReturn:
        """Say what was expected, and what was found. Raises ProjectError."""
        self.fail(f"expected {expected}, got {self._described()}", hint=self._quoted())

    def _described(self) -> str:
        text = self.value.text if len(self.value.text) <= _LONGEST else f"{self.value.text[:_LONGEST]}…"
        match self.kind:
            case YamlKind.NULL:
                return "nothing"
            case YamlKind.LIST:
                return "a list"
            case YamlKind.MAPPING:
                return "a mapping"
            case YamlKind.TEXT:
                return repr(text)
            case YamlKind.BOOLEAN:
                return f"the boolean {text}"
            case YamlKind.INTEGER | YamlKind.FRACTION:
                return f"the number {text}"

    def _quoted(self) -> str:
        if self.kind in (YamlKind.BOOLEAN, YamlKind.INTEGER, YamlKind.FRACTION):
            return f'if text is meant, write it in quotes: "{self.value.text}"'
        return ""

    def at(self, key: str) -> ProjectEntry | None:
        """What a mapping has under a key."""
        value = (self.value.mapping or {}).get(key)
        path = f"{self.path}.{key}" if self.path else key
        return None if value is None else ProjectEntry(file=self.file, path=path, value=value)

    def mapping(self, known: Collection[str] | None = None) -> Mapping[str, ProjectEntry]:
        """The entries of a mapping, with no other keys than those `known`. Raises ProjectError."""
        if self.kind is not YamlKind.MAPPING:
            self.fail_kind("a mapping" if known is None else f"a mapping with the keys {', '.join(known)}")
        entries = {key: entry for key in self.value.mapping or {} if (entry := self.at(key)) is not None}
        for key, entry in entries.items():
            if known is not None and key not in known:
                entry.fail(f"unknown key{nearest(key, known)}", hint=f"known keys: {', '.join(known)}")
        return entries

    def items(self, expected: str = "a list") -> Iterator[ProjectEntry]:
        """Of a list. Raises ProjectError."""
        if self.kind is not YamlKind.LIST:
            self.fail_kind(expected)
        for index, item in enumerate(self.value.items):
            yield ProjectEntry(file=self.file, path=f"{self.path}[{index}]", value=item)

    def text(self, pattern: re.Pattern[str] | None = None, expected: str = "text") -> str:
        """Raises ProjectError."""
        if self.kind is not YamlKind.TEXT:
            self.fail_kind(expected)
        text = self.value.text
        if pattern is None and (not text or "\0" in text):
            self.fail(f"expected {expected}, got {text!r}")
        if pattern is not None and pattern.fullmatch(text) is None:
            self.fail(f"expected {expected}, got {self._described()}")
        return text

    def texts(self, pattern: re.Pattern[str] | None = None, expected: str = "text") -> tuple[str, ...]:
        """Of a list, each once. Raises ProjectError."""
        return tuple(dict.fromkeys(item.text(pattern, expected) for item in self.items("a list")))

    def word(self, words: Collection[str]) -> str:
        """Raises ProjectError."""
        expected = f"one of {', '.join(words)}"
        if self.kind is not YamlKind.TEXT:
            self.fail_kind(expected)
        if self.value.text not in words:
            self.fail(f"expected {expected}, got {self._described()}{nearest(self.value.text, words)}")
        return self.value.text

    def flag(self) -> bool:
        """Raises ProjectError."""
        if self.kind is not YamlKind.BOOLEAN:
            self.fail(f"expected true or false, got {self._described()}")
        return self.value.is_true

    def number(self, expected: str, *, whole: bool = True) -> str:
        """The text of a number in its plain form: no `0x10`, no `1_000`. Raises ProjectError."""
        kinds = (YamlKind.INTEGER,) if whole else (YamlKind.INTEGER, YamlKind.FRACTION)
        if self.kind not in kinds or _NUMBER.fullmatch(self.value.text) is None:
            self.fail(f"expected {expected}, got {self._described()}")
        return self.value.text

    def local_path(self) -> Path:
        """A path, absolute: relative ones begin at the directory of the file, and do not lead out of the repository.
        Raises ProjectError."""
        return self.resolved(self.text(expected="a path"))

    def resolved(self, text: str, *, hint: str = _STAYS) -> Path:
        """The same for a path that is a part of the value. `hint` is for one that leads out. Raises ProjectError."""
        try:
            path = expanded(text)
        except UsageError as error:
            self.fail(error.message, hint=error.hint)
        if path.is_absolute():
            return path
        directory = self.file.path.parent
        plain, top = Path(_normal(directory / path)), self.file.top
        is_in = plain.is_relative_to(top)
        if not is_in or not real_path(plain).is_relative_to(real_path(top)):
            self.fail(
                f"the path {text} leads out of {top}{' through a symbolic link' if is_in else ''}",
                hint=hint,
            )
        return plain


def real_path(path: Path) -> Path:
    """The path without symbolic links. Path.resolve raises RuntimeError where they form a circle."""
    return Path(os.path.realpath(path))


def exists(path: Path) -> bool:
    """Whether anything is there; nothing is under a name that is too long."""
    try:
        return path.exists()
    except OSError:
        return False


def _normal(path: Path) -> str:
    return os.path.normpath(path)

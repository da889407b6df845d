"""Converters on disk: directories with a converter.yaml, found on a search path as flavours are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import yaml

from dibo.errors import ConverterError, UsageError
from dibo.flavours import strict_yaml
from dibo.flavours.schema import nearest


class Takes(StrEnum):
    """What a converter is given."""

    DISK = "disk"
    ROOT = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Converter:
    """`type` is the directory's name and the ending of what it makes. Without a command, dibo does it itself."""

    type: str
    path: Path
    summary: str
    takes: Takes
    tools: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


class Converters:
    """The converters on a search path; the first directory that has a type wins."""

    def __init__(self, search_path: Iterable[Path]) -> None:
        self._found: dict[str, Path] = {}
        for directory in search_path:
            if not directory.is_dir():
                raise ConverterError(
                    f"the converters directory {directory} does not exist",
                    hint="set --converters-path or DIBO_CONVERTERS_PATH",
                )
            for path in sorted(directory.iterdir()):
                if (path / "converter.yaml").is_file():
                    self._found.setdefault(path.name, path)

    def __iter__(self) -> Iterator[Converter]:
        return iter([load_converter(path) for _, path in sorted(self._found.items())])

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(sorted(self._found))

    def get(self, kind: str) -> Converter:
        """Raises UsageError for an unknown type, ConverterError for an invalid converter.yaml."""
        if kind not in self._found:
            raise UsageError(
                f"no converter for type {kind!r}{nearest(kind, self._found)}",
                hint=f"types: {', '.join(self.types)}",
            )
        return load_converter(self._found[kind])


def load_converter(path: Path) -> Converter:
    """Read one converter.yaml. Raises ConverterError."""
    manifest = path / "converter.yaml"
    try:
        data = strict_yaml.load(manifest.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConverterError(f"cannot read {manifest}: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or data.get("takes") not in tuple(Takes):
        raise ConverterError(f"{manifest}: expected takes: {' or '.join(Takes)}")
    for key in data:
        if key not in ("summary", "takes", "tools", "command"):
            known = ("summary", "takes", "tools", "command")
            raise ConverterError(f"{manifest}: unknown key {key!r}{nearest(str(key), known)}")
    return Converter(
        type=path.name,
        path=path,
        summary=str(data.get("summary", "")),
        takes=Takes(data["takes"]),
        tools=_words(data.get("tools", []), manifest, "tools"),
        command=_words(data.get("command", []), manifest, "command"),
    )


def _words(value: object, manifest: Path, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ConverterError(f"{manifest}: {key} must be a list of strings, got {value!r}")
    return tuple(value)

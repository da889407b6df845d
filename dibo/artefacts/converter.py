"""Converters on disk: directories with a converter.yaml, found on a search path as flavours are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import yaml

from dibo.errors import ConverterError, UsageError
from dibo.flavours import strict_yaml
from dibo.flavours.schema import nearest
from dibo.layout.schema import SECTORS
from dibo.settings.settings import Settings
from dibo.system import resources
from dibo.units import parse_size

_KEYS: Final = ("summary", "takes", "tools", "command", "suffix", "unit", "sector", "makes")
_MAKES: Final = ("file", "directory")
_SUFFIX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")

_ELSEWHERE: Final = {
    "aci": "rkt, which ran such images, is gone: -t tar is the same tree",
    "docker": "`dibo build --tag NAME` makes a container image of the same names, and --push uploads it",
    "vpc": "-t vhd",
}
"""Types of diskimage-builder, and of qemu-img, that have another name or another command here."""


class Takes(StrEnum):
    """What a converter is given."""

    DISK = "disk"
    """A raw disk."""
    QCOW2 = "qcow2"
    ROOT = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Converter:
    """`type` is the directory's name and, unless `suffix` says another, the ending of what it makes. Without a command,
    dibo does it itself."""

    type: str
    path: Path
    summary: str
    takes: Takes
    tools: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    suffix: str = ""
    unit: int = 1
    """The size of the disk is a multiple of so many bytes."""
    sector: int = 0
    """Bytes of a logical sector, where those who read the type know one size alone; 0 where any will do."""
    makes_directory: bool = False

    @property
    def ending(self) -> str:
        return self.suffix or self.type

    @property
    def has_disk(self) -> bool:
        """Whether it is made of a disk."""
        return self.takes is not Takes.ROOT


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
        if kind not in self._found and kind in _ELSEWHERE:
            raise UsageError(f"dibo has no type {kind!r}", hint=_ELSEWHERE[kind])
        if kind not in self._found:
            raise UsageError(
                f"no converter for type {kind!r}{nearest(kind, self._found)}",
                hint=f"types: {', '.join(self.types)}",
            )
        return load_converter(self._found[kind])

    def of_name(self, name: str) -> Converter | None:
        """The converter whose ending a file's name has, the longest if several do: `web.raw.gz` is a `raw.gz`. Raises
        ConverterError."""
        if "." not in name:
            return None
        fitting = [converter for converter in self if name.endswith(f".{converter.ending}")]
        return max(fitting, key=lambda converter: len(converter.ending), default=None)


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
        if key not in _KEYS:
            raise ConverterError(f"{manifest}: unknown key {key!r}{nearest(str(key), _KEYS)}")
    suffix = data.get("suffix", "")
    if not isinstance(suffix, str) or (suffix and _SUFFIX.fullmatch(suffix) is None):
        raise ConverterError(f"{manifest}: suffix must be the end of a file's name, such as tar.gz")
    makes = data.get("makes", _MAKES[0])
    if makes not in _MAKES:
        raise ConverterError(f"{manifest}: expected makes: {' or '.join(_MAKES)}")
    return Converter(
        type=path.name,
        path=path,
        summary=str(data.get("summary", "")),
        takes=Takes(data["takes"]),
        tools=_words(data.get("tools", []), manifest, "tools"),
        command=_words(data.get("command", []), manifest, "command"),
        suffix=suffix,
        unit=_size(data.get("unit", "1"), manifest),
        sector=_sector(data.get("sector", 0), manifest),
        makes_directory=makes == _MAKES[1],
    )


def _size(value: object, manifest: Path) -> int:
    try:
        size = parse_size(value) if isinstance(value, str) else 0
    except UsageError:
        size = 0
    if not size:
        raise ConverterError(f"{manifest}: unit must be a size such as 1GiB, got {value!r}")
    return size


def _sector(value: object, manifest: Path) -> int:
    if type(value) is not int or value not in (0, *SECTORS):
        raise ConverterError(
            f"{manifest}: sector must be one of {', '.join(map(str, SECTORS))}, got {value!r}"
        )
    return value


def _words(value: object, manifest: Path, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ConverterError(f"{manifest}: {key} must be a list of strings, got {value!r}")
    return tuple(value)


def converters_of(settings: Settings) -> tuple[Converter, ...]:
    """The converters of the requested types; if none were requested, of the type that the output's name ends in, if it
    does. Raises UsageError, ConverterError."""
    converters = Converters((*settings.converters_path, resources.shared("converters")))
    if not settings.types_named and (named := converters.of_name(settings.output.name)) is not None:
        return (named,)
    return tuple(converters.get(kind) for kind in settings.types)

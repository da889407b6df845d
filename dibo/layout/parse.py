"""The disk statement of one flavour or file: under `disk:` in flavour.yaml, or in a layout.yaml.

    table: gpt
    partitions:
      - {name: bios, type: bios-boot, size: 1MiB, content: grub-core}
      - {name: esp, type: esp, size: 64MiB, filesystem: vfat, label: UEFI, mount: /boot/efi, content: esp}
      - {name: root, type: linux-root, size: rest, filesystem: ext4, label: cloudimg-rootfs, mount: /}

A flavour may omit keys that another flavour sets (dibo.layout.merge). An error names the file it comes from and the
path of the value: `disk.partitions[1].size`. LAYOUT_SCHEMA describes the same to editors; a test compares the two.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any, NoReturn, TypeVar
from uuid import UUID

from dibo.errors import LayoutError, UsageError
from dibo.layout.model import (
    FileSystemType,
    Flag,
    Headroom,
    PartitionContent,
    PartitionType,
    Sizing,
    TableType,
    Type,
)
from dibo.layout.schema import (
    CODE_PATTERN,
    GUID_PATTERN,
    LABEL_PATTERN,
    LAYOUT_KEYS,
    LAYOUT_SCHEMA,
    MAX_PARTITIONS,
    MOUNT_PATTERN,
    NAME_PATTERN,
    OPTION_PATTERN,
    PARTITION_KEYS,
    PERCENT_PATTERN,
    SECTORS,
    SIZE_PATTERN,
    VFAT_LABEL_PATTERN,
)
from dibo.units import KIB, MIB, parse_size

__all__ = ["LAYOUT_SCHEMA", "PartitionStatement", "Statement", "ValuePath", "parse_statement"]

EnumType = TypeVar("EnumType", bound=Enum)
_ALIGNMENTS = (4 * KIB, 1024 * MIB)


class ValuePath:
    """The path of a value in the user's file, for error messages and typed access."""

    def __init__(self, origin: str, path: str) -> None:
        self.origin = origin
        self.path = path

    def at(self, step: str) -> ValuePath:
        return ValuePath(self.origin, self.path + step)

    def fail(self, message: str, *, hint: str = "") -> NoReturn:
        raise LayoutError(f"{self.origin}: {self.path}: {message}", hint=hint)

    def mapping(
        self, value: object, *, known: Collection[str], required: Collection[str] = ()
    ) -> Mapping[str, object]:
        if not isinstance(value, dict):
            self.fail(f"expected a mapping with the keys {', '.join(known)}")
        for key in value:
            if key not in known:
                self.at(f".{key}").fail("unknown key", hint=_nearest(str(key), known))
        for key in required:
            if key not in value:
                self.fail(f"the key {key} is missing")
        return value

    def word(self, value: object, words: type[EnumType]) -> EnumType:
        known = tuple(str(word.value) for word in words)
        if not isinstance(value, str) or value not in known:
            self.fail(f"expected one of {', '.join(known)}, got {value!r}", hint=_nearest(str(value), known))
        return words(value)

    def text(self, value: object, pattern: str, expected: str) -> str:
        if not isinstance(value, str) or re.search(pattern, value) is None or value.endswith("\n"):
            self.fail(f"expected {expected}, got {value!r}")
        return value


def _nearest(word: str, known: Collection[str]) -> str:
    matches = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {matches[0]}?" if matches else f"known: {', '.join(known)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionStatement:
    """The keys that one flavour or file sets for a partition, with values as in Partition."""

    name: str
    values: tuple[tuple[str, Any], ...]
    value_path: ValuePath = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The keys that one flavour or file sets for a disk; `values` are its own keys, with values as in Layout."""

    values: tuple[tuple[str, Any], ...]
    partitions: tuple[PartitionStatement, ...]
    value_path: ValuePath = field(compare=False, repr=False)


def parse_statement(data: object, *, origin: str, path: str = "layout") -> Statement:
    """The statement in a YAML value, which a user finds at `path` of the file `origin`. Raises LayoutError."""
    value_path = ValuePath(origin, path)
    mapping = value_path.mapping(data, known=LAYOUT_KEYS)
    values: list[tuple[str, Any]] = []
    if "table" in mapping:
        values.append(("table", value_path.at(".table").word(mapping["table"], TableType)))
    if "alignment" in mapping:
        values.append(("alignment", _parse_alignment(mapping["alignment"], value_path.at(".alignment"))))
    if "size" in mapping:
        values.append(("size", _parse_size(mapping["size"], value_path.at(".size"), words=(Sizing.FIT,))))
    if "sector" in mapping:
        values.append(("sector", _parse_sector(mapping["sector"], value_path.at(".sector"))))
    partitions: tuple[PartitionStatement, ...] = ()
    if "partitions" in mapping:
        partitions = _parse_partitions(mapping["partitions"], value_path.at(".partitions"))
    return Statement(values=tuple(values), partitions=partitions, value_path=value_path)


def _parse_partitions(items: object, value_path: ValuePath) -> tuple[PartitionStatement, ...]:
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_PARTITIONS:
        value_path.fail(f"expected a list of 1 to {MAX_PARTITIONS} partitions")
    partitions: dict[str, PartitionStatement] = {}
    for index, item in enumerate(items):
        partition = _parse_partition(item, value_path.at(f"[{index}]"))
        if partition.name in partitions:
            value_path.at(f"[{index}].name").fail(
                f"the name {partition.name} is already used by an earlier partition"
            )
        partitions[partition.name] = partition
    return tuple(partitions.values())


def _parse_alignment(value: object, value_path: ValuePath) -> int:
    alignment = _parse_bytes(value, value_path)
    least, most = _ALIGNMENTS
    if not least <= alignment <= most or alignment & (alignment - 1):
        value_path.fail("expected a power of two from 4KiB to 1GiB")
    return alignment


def _parse_sector(value: object, value_path: ValuePath) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value not in SECTORS:
        value_path.fail(f"expected {' or '.join(map(str, SECTORS))}, got {value!r}")
    return value


def _parse_partition(value: object, value_path: ValuePath) -> PartitionStatement:
    mapping = value_path.mapping(value, known=PARTITION_KEYS, required=("name",))
    name = value_path.at(".name").text(
        mapping["name"], NAME_PATTERN, "a name of 1 to 36 characters: a to z, 0 to 9, dot, dash, underscore"
    )
    filesystem = (
        value_path.at(".filesystem").word(mapping["filesystem"], FileSystemType)
        if "filesystem" in mapping
        else None
    )
    values: list[tuple[str, Any]] = []
    for key in PARTITION_KEYS[1:]:
        if key in mapping:
            values.append((key, _parse_value(key, mapping[key], value_path.at(f".{key}"), filesystem)))
    return PartitionStatement(name=name, values=tuple(values), value_path=value_path)


def _parse_value(key: str, value: object, value_path: ValuePath, filesystem: FileSystemType | None) -> Any:
    match key:
        case "type":
            return _parse_type(value, value_path)
        case "size":
            return _parse_size(value, value_path, words=tuple(Sizing))
        case "headroom":
            return _parse_headroom(value, value_path)
        case "filesystem":
            return filesystem
        case "label":
            return _parse_label(value, filesystem, value_path)
        case "mount":
            expected = "an absolute path without . and .."
            return PurePosixPath(value_path.text(value, MOUNT_PATTERN, expected))
        case "options":
            return _parse_options(value, value_path)
        case "flags":
            if not isinstance(value, list):
                value_path.fail(f"expected a list of {', '.join(flag.value for flag in Flag)}")
            return frozenset(value_path.at(f"[{index}]").word(flag, Flag) for index, flag in enumerate(value))
        case _:
            return value_path.word(value, PartitionContent)


def _parse_type(value: object, value_path: ValuePath) -> Type:
    if isinstance(value, str):
        if re.search(GUID_PATTERN, value):
            return UUID(value.strip())
        if re.search(CODE_PATTERN, value):
            return int(value, 16)
    elif isinstance(value, int) and not isinstance(value, bool) and 0 < value < 256:
        value_path.fail(
            f"{value} is ambiguous: its base is unknown", hint=f'write the code as text: "{value:#04x}"'
        )
    return value_path.word(value, PartitionType)


def _parse_size(value: object, value_path: ValuePath, *, words: tuple[Sizing, ...]) -> int | Sizing:
    for word in words:
        if value == word.value:
            return word
    known = " or ".join(word.value for word in words)
    return _parse_bytes(value, value_path, f"a size such as 64MiB or 1.5GiB, or {known}")


def _parse_bytes(
    value: object, value_path: ValuePath, expected: str = "a size such as 64MiB or 1.5GiB"
) -> int:
    text = value_path.text(value, SIZE_PATTERN, expected)
    try:
        return -(-parse_size(text) // KIB) * KIB  # so that it can be written again
    except UsageError as error:
        value_path.fail(error.message, hint=error.hint)


def _parse_headroom(value: object, value_path: ValuePath) -> Headroom:
    if isinstance(value, str) and re.search(PERCENT_PATTERN, value) and not value.endswith("\n"):
        return Headroom(percent=Decimal(value.rstrip("%").strip()))
    return Headroom(size=_parse_bytes(value, value_path, "a share such as 10% or a size such as 200MiB"))


def _parse_label(value: object, filesystem: FileSystemType | None, value_path: ValuePath) -> str:
    if filesystem is FileSystemType.NONE:
        value_path.fail("a label requires a file system", hint="remove label")
    if filesystem is FileSystemType.VFAT:
        label = value_path.text(
            value, VFAT_LABEL_PATTERN, "a vfat label of capitals, digits and some punctuation"
        )
    else:
        label = value_path.text(value, LABEL_PATTERN, "a label of printable ASCII characters")
    if filesystem is not None:
        check_label_length(label, filesystem, value_path)
    return label


def check_label_length(label: str, filesystem: FileSystemType, value_path: ValuePath) -> None:
    if len(label) > filesystem.label_limit:
        value_path.fail(
            f"{label!r} has {len(label)} characters; {filesystem.value} allows {filesystem.label_limit}"
        )


def _parse_options(value: object, value_path: ValuePath) -> tuple[str, ...]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list):
        value_path.fail(f"expected a list of mount options or text with commas between them, got {value!r}")
    expected = "a mount option of letters, digits and . : / = @ % + -"
    return tuple(dict.fromkeys(value_path.text(word, OPTION_PATTERN, expected) for word in words))

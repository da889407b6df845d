"""What one flavour, or one file, says about the disk: under `disk:` in flavour.yaml, or in a layout.yaml.

    table: gpt
    partitions:
      - {name: bios, type: bios-boot, size: 1MiB, content: grub-core}
      - {name: esp, type: esp, size: 64MiB, filesystem: vfat, label: UEFI, mount: /boot/efi, content: esp}
      - {name: root, type: linux-root, size: rest, filesystem: ext4, label: cloudimg-rootfs, mount: /}

A flavour may leave out whatever another one says (dibo.layout.merge). An error names the file it comes from and the
path of the value: `disk.partitions[1].size`. LAYOUT_SCHEMA says the same to editors; a test holds the two against each
other.
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
from dibo.layout.model import Content, FileSystem, Flag, Headroom, PartitionType, Sizing, Table, Type
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
    SIZE_PATTERN,
    VFAT_LABEL_PATTERN,
)
from dibo.units import KIB, MIB, parse_size

__all__ = ["LAYOUT_SCHEMA", "PartitionStatement", "Statement", "Where", "parse_statement"]

Word = TypeVar("Word", bound=Enum)
_ALIGNMENTS = (4 * KIB, 1024 * MIB)


class Where:
    """A place in the user's file: it knows its path, and how to complain about what it finds there."""

    def __init__(self, origin: str, path: str) -> None:
        self.origin = origin
        self.path = path

    def at(self, step: str) -> Where:
        return Where(self.origin, self.path + step)

    def fail(self, message: str, *, hint: str = "") -> NoReturn:
        raise LayoutError(f"{self.origin}: {self.path}: {message}", hint=hint)

    def mapping(
        self, value: object, *, known: Collection[str], required: Collection[str] = ()
    ) -> Mapping[str, object]:
        if not isinstance(value, dict):
            self.fail(f"a mapping is wanted, with the keys {', '.join(known)}")
        for key in value:
            if key not in known:
                self.at(f".{key}").fail("no such key", hint=_nearest(str(key), known))
        for key in required:
            if key not in value:
                self.fail(f"the key {key} is missing")
        return value

    def word(self, value: object, words: type[Word]) -> Word:
        known = tuple(str(word.value) for word in words)
        if not isinstance(value, str) or value not in known:
            self.fail(f"{value!r} is none of {', '.join(known)}", hint=_nearest(str(value), known))
        return words(value)

    def text(self, value: object, pattern: str, wanted: str) -> str:
        if not isinstance(value, str) or re.search(pattern, value) is None or value.endswith("\n"):
            self.fail(f"{value!r} is not {wanted}")
        return value


def _nearest(word: str, known: Collection[str]) -> str:
    found = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {found[0]}?" if found else f"known: {', '.join(known)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionStatement:
    """What is said about one partition: the keys that are there, with values as in Partition."""

    name: str
    said: tuple[tuple[str, Any], ...]
    where: Where = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What is said about a disk; `said` are its own keys, with values as in Layout."""

    said: tuple[tuple[str, Any], ...]
    partitions: tuple[PartitionStatement, ...]
    where: Where = field(compare=False, repr=False)


def parse_statement(data: object, *, origin: str, path: str = "layout") -> Statement:
    """The statement in a YAML value, which a user finds at `path` of the file `origin`. Raises LayoutError."""
    where = Where(origin, path)
    mapping = where.mapping(data, known=LAYOUT_KEYS)
    said: list[tuple[str, Any]] = []
    if "table" in mapping:
        said.append(("table", where.at(".table").word(mapping["table"], Table)))
    if "alignment" in mapping:
        said.append(("alignment", _parse_alignment(mapping["alignment"], where.at(".alignment"))))
    if "size" in mapping:
        said.append(("size", _parse_size(mapping["size"], where.at(".size"), words=(Sizing.FIT,))))
    partitions: tuple[PartitionStatement, ...] = ()
    if "partitions" in mapping:
        partitions = _parse_partitions(mapping["partitions"], where.at(".partitions"))
    return Statement(said=tuple(said), partitions=partitions, where=where)


def _parse_partitions(items: object, where: Where) -> tuple[PartitionStatement, ...]:
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_PARTITIONS:
        where.fail(f"a list of 1 to {MAX_PARTITIONS} partitions is wanted")
    found: dict[str, PartitionStatement] = {}
    for index, item in enumerate(items):
        partition = _parse_partition(item, where.at(f"[{index}]"))
        if partition.name in found:
            where.at(f"[{index}].name").fail(f"{partition.name} is taken by a partition above")
        found[partition.name] = partition
    return tuple(found.values())


def _parse_alignment(value: object, where: Where) -> int:
    alignment = _parse_bytes(value, where)
    least, most = _ALIGNMENTS
    if not least <= alignment <= most or alignment & (alignment - 1):
        where.fail("an alignment is a power of two from 4KiB to 1GiB")
    return alignment


def _parse_partition(value: object, where: Where) -> PartitionStatement:
    mapping = where.mapping(value, known=PARTITION_KEYS, required=("name",))
    name = where.at(".name").text(
        mapping["name"], NAME_PATTERN, "a name: 1 to 36 of a to z, 0 to 9, dot, dash, underscore"
    )
    filesystem = (
        where.at(".filesystem").word(mapping["filesystem"], FileSystem) if "filesystem" in mapping else None
    )
    said: list[tuple[str, Any]] = []
    for key in PARTITION_KEYS[1:]:
        if key in mapping:
            said.append((key, _parse_value(key, mapping[key], where.at(f".{key}"), filesystem)))
    return PartitionStatement(name=name, said=tuple(said), where=where)


def _parse_value(key: str, value: object, where: Where, filesystem: FileSystem | None) -> Any:
    match key:
        case "type":
            return _parse_type(value, where)
        case "size":
            return _parse_size(value, where, words=tuple(Sizing))
        case "headroom":
            return _parse_headroom(value, where)
        case "filesystem":
            return filesystem
        case "label":
            return _parse_label(value, filesystem, where)
        case "mount":
            wanted = "an absolute path without . and .."
            return PurePosixPath(where.text(value, MOUNT_PATTERN, wanted))
        case "options":
            return _parse_options(value, where)
        case "flags":
            if not isinstance(value, list):
                where.fail(f"a list is wanted, of {', '.join(flag.value for flag in Flag)}")
            return frozenset(where.at(f"[{index}]").word(flag, Flag) for index, flag in enumerate(value))
        case _:
            return where.word(value, Content)


def _parse_type(value: object, where: Where) -> Type:
    if isinstance(value, str):
        if re.search(GUID_PATTERN, value):
            return UUID(value.strip())
        if re.search(CODE_PATTERN, value):
            return int(value, 16)
    elif isinstance(value, int) and not isinstance(value, bool) and 0 < value < 256:
        where.fail(f"{value} could be in any base", hint=f'write the code as text: "{value:#04x}"')
    return where.word(value, PartitionType)


def _parse_size(value: object, where: Where, *, words: tuple[Sizing, ...]) -> int | Sizing:
    for word in words:
        if value == word.value:
            return word
    known = " or ".join(word.value for word in words)
    return _parse_bytes(value, where, f"a size such as 64MiB or 1.5GiB, nor {known}")


def _parse_bytes(value: object, where: Where, wanted: str = "a size such as 64MiB or 1.5GiB") -> int:
    text = where.text(value, SIZE_PATTERN, wanted)
    try:
        return -(-parse_size(text) // KIB) * KIB  # so that it can be written again
    except UsageError as error:
        where.fail(error.message, hint=error.hint)


def _parse_headroom(value: object, where: Where) -> Headroom:
    if isinstance(value, str) and re.search(PERCENT_PATTERN, value) and not value.endswith("\n"):
        return Headroom(percent=Decimal(value.rstrip("%").strip()))
    return Headroom(size=_parse_bytes(value, where, "a share such as 10%, nor a size such as 200MiB"))


def _parse_label(value: object, filesystem: FileSystem | None, where: Where) -> str:
    if filesystem is FileSystem.NONE:
        where.fail("only a file system has a label", hint="leave label out")
    if filesystem is FileSystem.VFAT:
        label = where.text(value, VFAT_LABEL_PATTERN, "a vfat label: capitals, digits and some punctuation")
    else:
        label = where.text(value, LABEL_PATTERN, "a label of printable ASCII characters")
    if filesystem is not None:
        check_label_length(label, filesystem, where)
    return label


def check_label_length(label: str, filesystem: FileSystem, where: Where) -> None:
    if len(label) > filesystem.label_limit:
        where.fail(
            f"{label!r} has {len(label)} characters, {filesystem.value} takes {filesystem.label_limit}"
        )


def _parse_options(value: object, where: Where) -> tuple[str, ...]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list):
        where.fail(f"{value!r} is neither a list of mount options nor words with commas between them")
    wanted = "a mount option: letters, digits and . : / = @ % + -"
    return tuple(dict.fromkeys(where.text(word, OPTION_PATTERN, wanted) for word in words))

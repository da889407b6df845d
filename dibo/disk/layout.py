"""The layout: the wish for a disk, as a flavour writes it under `disk:`.

    disk:
      table: gpt
      partitions:
        - {name: bios, type: bios-boot, size: 1MiB, content: grub-core}
        - {name: esp, type: esp, size: 64MiB, filesystem: vfat, label: UEFI, mount: /boot/efi, content: esp}
        - {name: root, type: linux-root, size: rest, filesystem: ext4, label: cloudimg-rootfs, mount: /}

Partitions lie on the disk in the order of the list. Sizes are rounded up to whole MiB when they are placed.
An error names the file it comes from and the path of the value: `disk.partitions[1].size`. LAYOUT_SCHEMA
says the same to editors; a test holds the two against each other.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from enum import Enum
from pathlib import PurePosixPath
from typing import NoReturn, TypeVar

from dibo.disk.layout_schema import (
    DISK_KEYS,
    LABEL_PATTERN,
    LAYOUT_SCHEMA,
    MAX_PARTITIONS,
    MOUNT_PATTERN,
    NAME_PATTERN,
    PARTITION_KEYS,
    PARTITION_REQUIRED,
    REST,
    SIZE_PATTERN,
    VFAT_LABEL_PATTERN,
)
from dibo.disk.partition import ROOT, Content, FileSystem, Layout, Partition, PartitionType, Table
from dibo.errors import LayoutError, UsageError
from dibo.units import parse_size

__all__ = ["LAYOUT_SCHEMA", "Layout", "Partition", "parse_layout"]

Word = TypeVar("Word", bound=Enum)


def parse_layout(data: object, *, origin: str) -> Layout:
    """The layout in the YAML value of the `disk:` key of a flavour, a file of the name `origin`.

    Raises LayoutError.
    """
    where = _Where(origin, "disk")
    mapping = where.mapping(data, known=DISK_KEYS, required=DISK_KEYS)
    if mapping["table"] == "mbr":
        where.at(".table").fail("MBR tables cannot be made yet", hint="write gpt; BIOS boots from it as well")
    table = where.at(".table").word(mapping["table"], Table)
    items = mapping["partitions"]
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_PARTITIONS:
        where.at(".partitions").fail(f"a list of 1 to {MAX_PARTITIONS} partitions is wanted")
    partitions = tuple(
        _parse_partition(item, where.at(f".partitions[{index}]")) for index, item in enumerate(items)
    )
    _check_together(partitions, where.at(".partitions"))
    return Layout(table=table, partitions=partitions)


class _Where:
    """A place in the user's file: it knows its path, and how to complain about what it finds there."""

    def __init__(self, origin: str, path: str) -> None:
        self.origin = origin
        self.path = path

    def at(self, step: str) -> _Where:
        return _Where(self.origin, self.path + step)

    def fail(self, message: str, *, hint: str = "") -> NoReturn:
        raise LayoutError(f"{self.origin}: {self.path}: {message}", hint=hint)

    def mapping(
        self, value: object, *, known: Collection[str], required: Collection[str]
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


def _parse_partition(value: object, where: _Where) -> Partition:
    mapping = where.mapping(value, known=PARTITION_KEYS, required=PARTITION_REQUIRED)
    filesystem = (
        where.at(".filesystem").word(mapping["filesystem"], FileSystem) if "filesystem" in mapping else None
    )
    label = mount = content = None
    if "label" in mapping:
        label = _parse_label(mapping["label"], filesystem, where.at(".label"))
    if "mount" in mapping:
        mount = where.at(".mount").text(mapping["mount"], MOUNT_PATTERN, "an absolute path without . and ..")
    if "content" in mapping:
        content = where.at(".content").word(mapping["content"], Content)
    partition = Partition(
        name=where.at(".name").text(
            mapping["name"], NAME_PATTERN, "a name: 1 to 36 of a to z, 0 to 9, dot, dash, underscore"
        ),
        type=where.at(".type").word(mapping["type"], PartitionType),
        size=_parse_partition_size(mapping["size"], where.at(".size")),
        filesystem=filesystem,
        label=label or "",
        mount=PurePosixPath(mount) if mount is not None else None,
        content=content,
    )
    _check_alone(partition, where)
    return partition


def _parse_partition_size(value: object, where: _Where) -> int | None:
    if value == REST:
        return None
    text = where.text(value, SIZE_PATTERN, f"a size such as 64MiB or 1.5GiB, nor {REST}")
    try:
        return parse_size(text)
    except UsageError as error:
        where.fail(error.message, hint=error.hint)


def _parse_label(value: object, filesystem: FileSystem | None, where: _Where) -> str:
    if filesystem is None:
        where.fail("only a file system has a label", hint="add the key filesystem, or leave label out")
    if filesystem is FileSystem.VFAT:
        label = where.text(value, VFAT_LABEL_PATTERN, "a vfat label: capitals, digits and some punctuation")
    else:
        label = where.text(value, LABEL_PATTERN, "a label of printable ASCII characters")
    if len(label) > filesystem.label_limit:
        where.fail(
            f"{label!r} has {len(label)} characters, {filesystem.value} takes {filesystem.label_limit}"
        )
    return label


def _check_alone(partition: Partition, where: _Where) -> None:
    """What one partition must agree about with itself."""
    if partition.type is PartitionType.BIOS_BOOT and partition.filesystem is not None:
        where.at(".filesystem").fail("a bios-boot partition has no file system")
    if partition.type is PartitionType.ESP and partition.filesystem is not FileSystem.VFAT:
        where.fail("firmware reads only vfat from an esp", hint="write filesystem: vfat")
    if partition.mount is not None and partition.filesystem is None:
        where.at(".mount").fail("nothing to mount without a file system", hint="add the key filesystem")
    if partition.mount == ROOT and partition.filesystem is FileSystem.VFAT:
        where.at(".filesystem").fail("vfat cannot hold a root: it has no owners, modes or links")
    if partition.content is Content.GRUB_CORE and partition.type is not PartitionType.BIOS_BOOT:
        where.at(".content").fail("grub-core lies in a partition of type bios-boot")
    if partition.content is Content.ESP and partition.filesystem is not FileSystem.VFAT:
        where.at(".content").fail("the content esp is a tree of files for filesystem: vfat")


def _check_together(partitions: tuple[Partition, ...], where: _Where) -> None:
    """What the partitions must agree about with each other."""
    for index, partition in enumerate(partitions):
        place = where.at(f"[{index}]")
        before = partitions[:index]
        if any(other.name == partition.name for other in before):
            place.at(".name").fail(f"{partition.name} is taken by a partition above")
        if partition.mount is not None and any(other.mount == partition.mount for other in before):
            place.at(".mount").fail(f"{partition.mount} is mounted from a partition above")
        if partition.size is None and any(other.size is None for other in before):
            place.at(".size").fail("only one partition can have the rest")
        if partition.content is not None and any(other.content is partition.content for other in before):
            place.at(".content").fail(f"{partition.content.value} is the content of a partition above")
    if not any(partition.mount == ROOT for partition in partitions):
        where.fail("no partition is the root", hint="one partition has the key mount: /")

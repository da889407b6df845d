"""Merges the disk statements of several flavours into one layout; contradictions are errors.

Partitions with the same name are merged. They keep the order of the statements, except that the partition with size
`rest` comes last: other partitions do not move when the disk grows, and the last one can grow.

    vm                  bios 1MiB | esp 64MiB |                   | root rest
    persistent-state                          | state 1GiB        |
    together            bios      | esp       | persistent-state  | root
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any
from uuid import UUID

from dibo.errors import LayoutError
from dibo.layout.model import (
    ROOT,
    FileSystemType,
    Flag,
    Headroom,
    Layout,
    Partition,
    PartitionContent,
    PartitionType,
    Sizing,
    TableType,
)
from dibo.layout.parse import PartitionStatement, Statement, ValuePath, check_label_length, parse_statement
from dibo.layout.schema import MAX_PARTITIONS, VFAT_LABEL_PATTERN
from dibo.units import SECTOR, exact_size

_MBR_FLAGS = frozenset({Flag.BOOTABLE, Flag.HIDDEN})


def parse_layout(data: object, *, origin: str, path: str = "layout") -> Layout:
    """The whole layout in a YAML value. Raises LayoutError."""
    return complete(parse_statement(data, origin=origin, path=path))


def merge(statements: Sequence[tuple[str, Statement]]) -> Statement | None:
    """Merge `statements`, each with its owner (`the flavour 'vm'`); None if there are none.

    Raises LayoutError, which names both owners, if two statements contradict each other.
    """
    if len(statements) < 2:
        return statements[0][1] if statements else None
    own = _MergedValues("the disk")
    partitions: dict[str, _MergedValues] = {}
    for owner, statement in statements:
        own.add(owner, statement.values)
        for partition in statement.partitions:
            values = partitions.setdefault(partition.name, _MergedValues(f"the partition {partition.name}"))
            values.value_path = values.value_path or partition.value_path
            values.add(owner, partition.values)
    owners = ", ".join(owner.removeprefix("the flavour ") for owner, _ in statements)
    value_path = ValuePath(f"the layout of the flavours {owners}", "layout")
    return Statement(
        values=own.all(),
        partitions=tuple(
            PartitionStatement(name=name, values=values.all(), value_path=values.value_path or value_path)
            for name, values in partitions.items()
        ),
        value_path=value_path,
    )


class _MergedValues:
    """The values of one disk or partition, each with the owner that set it first."""

    def __init__(self, subject: str) -> None:
        self.value_path: ValuePath | None = None
        self._subject = subject
        self._values: dict[str, tuple[object, str]] = {}

    def add(self, owner: str, values: Iterable[tuple[str, object]]) -> None:
        for key, value in values:
            before, first_owner = self._values.setdefault(key, (value, owner))
            if before != value and not _same(before, value):
                raise LayoutError(
                    f"{first_owner} and {owner} contradict each other about {self._subject}: {key} is"
                    f" {written(before)} in the first, {written(value)} in the second",
                    hint="change or remove one of them, or describe the whole disk in a file: --layout FILE",
                )

    def all(self) -> tuple[tuple[str, object], ...]:
        return tuple((key, value) for key, (value, _) in self._values.items())


def _same(first: object, second: object) -> bool:
    """Whether two tuples have the same items: the order of mount options does not matter between flavours."""
    return isinstance(first, tuple) and isinstance(second, tuple) and set(first) == set(second)


def written(value: object) -> str:
    """A value of a statement as users write it."""
    match value:
        case Enum():
            return str(value.value)
        case Headroom():
            return f"{value.percent}%" if value.percent is not None else exact_size(value.size or 0)
        case UUID():
            return str(value)
        case tuple():
            return ",".join(value)
        case frozenset():
            return f"[{', '.join(sorted(flag.value for flag in value))}]"
        case int():
            return exact_size(value)
    return str(value)


def complete(statement: Statement) -> Layout:
    """The layout of a complete `statement`. Raises LayoutError if a key is missing or invalid."""
    values: dict[str, Any] = dict(statement.values)
    if "table" not in values:
        statement.value_path.fail(
            "the key table is missing: expected gpt or mbr",
            hint=_WHOLE,
        )
    if not statement.partitions:
        statement.value_path.fail("the disk has no partitions", hint=_WHOLE)
    if len(statement.partitions) > MAX_PARTITIONS:
        statement.value_path.fail(f"more than {MAX_PARTITIONS} partitions")
    partitions = []
    for partition_statement in statement.partitions:
        partition = _partition(partition_statement)
        _check_alone(partition, partition_statement.value_path, table=values["table"])
        partitions.append((partition, partition_statement.value_path))
    _check_together(partitions, statement.value_path)
    ordered = sorted(
        (partition for partition, _ in partitions), key=lambda partition: partition.size is Sizing.REST
    )
    layout = Layout(partitions=tuple(ordered), **values)
    _check_sector(layout, statement.value_path.at(".sector"))
    _check_sizes(layout, statement.value_path)
    return layout


_WHOLE = "add the flavour `vm`, which describes a whole disk, or pass a file: --layout FILE"


def _partition(statement: PartitionStatement) -> Partition:
    values: dict[str, Any] = dict(statement.values)
    for key in ("type", "size"):
        if key not in values:
            statement.value_path.fail(
                f"the key {key} is missing", hint=f"no other flavour sets it for {statement.name}"
            )
    if values.get("filesystem") is FileSystemType.NONE:
        del values["filesystem"]
    return Partition(name=statement.name, **values)


def _check_alone(partition: Partition, value_path: ValuePath, *, table: TableType) -> None:
    """Check one partition: its keys against each other and against the partition table."""
    filesystem, kind = partition.filesystem, partition.type
    if kind is PartitionType.BIOS_BOOT and filesystem is not None:
        value_path.at(".filesystem").fail("a bios-boot partition cannot have a file system")
    if kind is PartitionType.ESP and filesystem is not FileSystemType.VFAT:
        value_path.fail(
            "an esp requires filesystem vfat: firmware reads nothing else", hint="write filesystem: vfat"
        )
    if filesystem is None:
        for key, value in (
            ("label", partition.label),
            ("mount", partition.mount),
            ("options", partition.options),
        ):
            if value:
                value_path.at(f".{key}").fail(
                    {"label": "a label requires a file system"}.get(key, "a mount requires a file system"),
                    hint=f"add the key filesystem, or remove {key}",
                )
    elif partition.label:
        check_label_length(partition.label, filesystem, value_path.at(".label"))
        if filesystem is FileSystemType.VFAT:
            value_path.at(".label").text(
                partition.label, VFAT_LABEL_PATTERN, "a vfat label of capitals, digits and some punctuation"
            )
    if partition.options and partition.mount is None and filesystem is not FileSystemType.SWAP:
        value_path.at(".options").fail("options require a mount point", hint="add the key mount")
    if partition.mount == ROOT and filesystem is FileSystemType.VFAT:
        value_path.at(".filesystem").fail("vfat cannot be the root: it stores no owners, modes or links")
    if partition.mount is not None and filesystem is FileSystemType.SWAP:
        value_path.at(".mount").fail("swap cannot have a mount point", hint="remove mount")
    if partition.content is PartitionContent.GRUB_CORE and kind is not PartitionType.BIOS_BOOT:
        value_path.at(".content").fail("the content grub-core requires type bios-boot")
    if partition.content is PartitionContent.ESP and filesystem is not FileSystemType.VFAT:
        value_path.at(".content").fail("the content esp requires filesystem vfat")
    if partition.headroom is not None and not isinstance(partition.size, Sizing):
        value_path.at(".headroom").fail("headroom requires size fit or rest", hint="write size: fit")
    if partition.size is Sizing.FIT and filesystem in (None, FileSystemType.SWAP):
        value_path.at(".size").fail("size fit requires a file system with stored files", hint="write a size")
    _check_table(partition, value_path, table)


def _check_table(partition: Partition, value_path: ValuePath, table: TableType) -> None:
    kind = partition.type
    if table is TableType.GPT:
        if isinstance(kind, int):
            value_path.at(".type").fail("a type code requires table mbr", hint="write a word or a GUID")
        return
    if isinstance(kind, UUID):
        value_path.at(".type").fail(
            "a type GUID requires table gpt", hint="write a word or a code such as 0x83"
        )
    if kind is PartitionType.BIOS_BOOT:
        value_path.at(".type").fail(
            "bios-boot requires table gpt: with an MBR, GRUB is stored before the first partition",
            hint="remove it, and add flags: [bootable] to the partition that contains /boot",
        )
    for flag in sorted(partition.flags - _MBR_FLAGS, key=lambda flag: flag.value):
        value_path.at(".flags").fail(f"an MBR has no flag {flag.value}", hint="use bootable or hidden")


def _check_together(partitions: Sequence[tuple[Partition, ValuePath]], whole: ValuePath) -> None:
    """Check the partitions against each other."""
    for index, (partition, value_path) in enumerate(partitions):
        before = [earlier for earlier, _ in partitions[:index]]
        if partition.mount is not None and any(earlier.mount == partition.mount for earlier in before):
            value_path.at(".mount").fail(f"an earlier partition is already mounted at {partition.mount}")
        if partition.size is Sizing.REST and any(earlier.size is Sizing.REST for earlier in before):
            value_path.at(".size").fail("only one partition can have size rest")
        if partition.content is not None and any(earlier.content is partition.content for earlier in before):
            value_path.at(".content").fail(
                f"an earlier partition already has the content {partition.content.value}"
            )
        if partition.label and any(
            earlier.label == partition.label and earlier.filesystem is not None for earlier in before
        ):
            value_path.at(".label").fail(f"an earlier partition already has the label {partition.label}")
    if not any(partition.mount == ROOT for partition, _ in partitions):
        whole.at(".partitions").fail(
            "no partition is mounted at /", hint=f"add mount: / to one partition\n{_WHOLE}"
        )


def _check_sizes(layout: Layout, value_path: ValuePath) -> None:
    for partition in layout.partitions:
        if partition.size is Sizing.REST and partition.headroom and layout.size is not Sizing.FIT:
            value_path.fail(
                f"headroom of {partition.name} has no effect: its size is rest, and the disk has a fixed size",
                hint="set size: fit for the disk as well, or remove headroom",
            )


def _check_sector(layout: Layout, value_path: ValuePath) -> None:
    """Large sectors: what reads a disk before an operating system counts in 512 bytes, but for UEFI."""
    if layout.sector == SECTOR:
        return
    if layout.table is TableType.MBR:
        value_path.fail(f"sectors of {layout.sector} bytes require table gpt", hint="write table: gpt")
    for partition in layout.partitions:
        if partition.type is PartitionType.BIOS_BOOT:
            value_path.fail(
                f"BIOS does not boot from sectors of {layout.sector} bytes, and {partition.name} is for it",
                hint="remove that partition: machines with such disks boot by UEFI",
            )


def document(layout: Layout) -> dict[str, object]:
    """The layout as a value of JSON that parse_layout reads back."""
    own: dict[str, object] = {"table": layout.table.value, "alignment": written(layout.alignment)}
    if layout.size is not None:
        own["size"] = written(layout.size)
    if layout.sector != SECTOR:
        own["sector"] = layout.sector
    own["partitions"] = [_document(partition) for partition in layout.partitions]
    return own


def _document(partition: Partition) -> Mapping[str, object]:
    kind = partition.type
    fields: dict[str, object] = {
        "name": partition.name,
        "type": f"{kind:#04x}" if isinstance(kind, int) else written(kind),
        "size": written(partition.size),
    }
    for key in ("headroom", "filesystem", "label", "mount", "content"):
        value = getattr(partition, key)
        if value:
            fields[key] = written(value)
    if partition.options:
        fields["options"] = list(partition.options)
    if partition.flags:
        fields["flags"] = sorted(flag.value for flag in partition.flags)
    return fields

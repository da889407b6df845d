"""One layout of what several flavours say: where they agree, or speak of different things.

Partitions are the same when their names are. What is said first stays first on the disk, but for the partition with
the rest, which comes last: so what others add does not move when the disk grows, and the rest can grow into it.

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
    Content,
    FileSystem,
    Flag,
    Headroom,
    Layout,
    Partition,
    PartitionType,
    Sizing,
    Table,
)
from dibo.layout.parse import PartitionStatement, Statement, Where, check_label_length, parse_statement
from dibo.layout.schema import MAX_PARTITIONS, VFAT_LABEL_PATTERN
from dibo.units import exact_size

_MBR_FLAGS = frozenset({Flag.BOOTABLE, Flag.HIDDEN})


def parse_layout(data: object, *, origin: str, path: str = "layout") -> Layout:
    """The whole layout in a YAML value. Raises LayoutError."""
    return complete(parse_statement(data, origin=origin, path=path))


def merge(statements: Sequence[tuple[str, Statement]]) -> Statement | None:
    """What `statements` say together, each with whose it is (`the flavour 'vm'`); None where nobody says anything.

    Raises LayoutError, which names both, where two contradict each other.
    """
    if len(statements) < 2:
        return statements[0][1] if statements else None
    own = _Said("the disk")
    partitions: dict[str, _Said] = {}
    for who, statement in statements:
        own.add(who, statement.said)
        for partition in statement.partitions:
            said = partitions.setdefault(partition.name, _Said(f"the partition {partition.name}"))
            said.where = said.where or partition.where
            said.add(who, partition.said)
    whom = ", ".join(who.removeprefix("the flavour ") for who, _ in statements)
    where = Where(f"the layout of the flavours {whom}", "layout")
    return Statement(
        said=own.all(),
        partitions=tuple(
            PartitionStatement(name=name, said=said.all(), where=said.where or where)
            for name, said in partitions.items()
        ),
        where=where,
    )


class _Said:
    """What was said about one thing, by whom."""

    def __init__(self, what: str) -> None:
        self.where: Where | None = None
        self._what = what
        self._said: dict[str, tuple[object, str]] = {}

    def add(self, who: str, said: Iterable[tuple[str, object]]) -> None:
        for key, value in said:
            before, first = self._said.setdefault(key, (value, who))
            if before != value and not _same(before, value):
                raise LayoutError(
                    f"{first} and {who} contradict each other about {self._what}: {key} is {written(before)} in the"
                    f" one, {written(value)} in the other",
                    hint="change one of them, leave one out, or say it all in a file of your own: --layout FILE",
                )

    def all(self) -> tuple[tuple[str, object], ...]:
        return tuple((key, value) for key, (value, _) in self._said.items())


def _same(one: object, other: object) -> bool:
    """Mount options have no order that counts between flavours."""
    return isinstance(one, tuple) and isinstance(other, tuple) and set(one) == set(other)


def written(value: object) -> str:
    """A value of a statement as people write it."""
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
    """The layout that `statement` is, when it says all that a layout has to. Raises LayoutError."""
    said: dict[str, Any] = dict(statement.said)
    if "table" not in said:
        statement.where.fail(
            "nobody says which partition table the disk has: the key table is missing",
            hint=_WHOLE,
        )
    if not statement.partitions:
        statement.where.fail("the disk has no partitions", hint=_WHOLE)
    if len(statement.partitions) > MAX_PARTITIONS:
        statement.where.fail(f"more than {MAX_PARTITIONS} partitions")
    partitions = []
    for each in statement.partitions:
        partition = _partition(each)
        _check_alone(partition, each.where, table=said["table"])
        partitions.append((partition, each.where))
    _check_together(partitions, statement.where)
    ordered = sorted((partition for partition, _ in partitions), key=lambda one: one.size is Sizing.REST)
    layout = Layout(partitions=tuple(ordered), **said)
    _check_sizes(layout, statement.where)
    return layout


_WHOLE = (
    "the flavour `vm` lays out a whole disk, others add to it; or say it all in a file of your own: --layout"
)


def _partition(statement: PartitionStatement) -> Partition:
    said: dict[str, Any] = dict(statement.said)
    for key in ("type", "size"):
        if key not in said:
            statement.where.fail(f"the key {key} is missing", hint=f"{statement.name} is named nowhere else")
    if said.get("filesystem") is FileSystem.NONE:
        del said["filesystem"]
    return Partition(name=statement.name, **said)


def _check_alone(partition: Partition, where: Where, *, table: Table) -> None:
    """What one partition must agree about with itself, and with the table."""
    filesystem, kind = partition.filesystem, partition.type
    if kind is PartitionType.BIOS_BOOT and filesystem is not None:
        where.at(".filesystem").fail("a bios-boot partition has no file system")
    if kind is PartitionType.ESP and filesystem is not FileSystem.VFAT:
        where.fail("firmware reads only vfat from an esp", hint="write filesystem: vfat")
    if filesystem is None:
        for key, value in (
            ("label", partition.label),
            ("mount", partition.mount),
            ("options", partition.options),
        ):
            if value:
                where.at(f".{key}").fail(
                    {"label": "only a file system has a label"}.get(
                        key, "nothing to mount without a file system"
                    ),
                    hint=f"add the key filesystem, or leave {key} out",
                )
    elif partition.label:
        check_label_length(partition.label, filesystem, where.at(".label"))
        if filesystem is FileSystem.VFAT:
            where.at(".label").text(
                partition.label, VFAT_LABEL_PATTERN, "a vfat label: capitals, digits and some punctuation"
            )
    if partition.options and partition.mount is None and filesystem is not FileSystem.SWAP:
        where.at(".options").fail("options of what is mounted nowhere", hint="add the key mount")
    if partition.mount == ROOT and filesystem is FileSystem.VFAT:
        where.at(".filesystem").fail("vfat cannot hold a root: it has no owners, modes or links")
    if partition.mount is not None and filesystem is FileSystem.SWAP:
        where.at(".mount").fail("swap is not mounted anywhere", hint="leave mount out")
    if partition.content is Content.GRUB_CORE and kind is not PartitionType.BIOS_BOOT:
        where.at(".content").fail("grub-core lies in a partition of type bios-boot")
    if partition.content is Content.ESP and filesystem is not FileSystem.VFAT:
        where.at(".content").fail("the content esp is a tree of files for filesystem: vfat")
    if partition.headroom is not None and not isinstance(partition.size, Sizing):
        where.at(".headroom").fail("a size that is said has no headroom", hint="write size: fit")
    if partition.size is Sizing.FIT and filesystem in (None, FileSystem.SWAP):
        where.at(".size").fail("nothing is stored in it that it could fit", hint="write a size")
    _check_table(partition, where, table)


def _check_table(partition: Partition, where: Where, table: Table) -> None:
    kind = partition.type
    if table is Table.GPT:
        if isinstance(kind, int):
            where.at(".type").fail("a code is for table: mbr", hint="write a word or a GUID")
        return
    if isinstance(kind, UUID):
        where.at(".type").fail("a GUID is for table: gpt", hint="write a word or a code such as 0x83")
    if kind is PartitionType.BIOS_BOOT:
        where.at(".type").fail(
            "a disk with an MBR has no bios-boot partition: GRUB lies before the first one",
            hint="leave it out, and write flags: [bootable] at the partition that /boot is in",
        )
    for flag in sorted(partition.flags - _MBR_FLAGS, key=lambda flag: flag.value):
        where.at(".flags").fail(f"an MBR cannot say {flag.value}", hint="it can say bootable and hidden")


def _check_together(partitions: Sequence[tuple[Partition, Where]], whole: Where) -> None:
    """What the partitions must agree about with each other."""
    for index, (partition, where) in enumerate(partitions):
        before = [other for other, _ in partitions[:index]]
        if partition.mount is not None and any(other.mount == partition.mount for other in before):
            where.at(".mount").fail(f"{partition.mount} is mounted from a partition above")
        if partition.size is Sizing.REST and any(other.size is Sizing.REST for other in before):
            where.at(".size").fail("only one partition can have the rest")
        if partition.content is not None and any(other.content is partition.content for other in before):
            where.at(".content").fail(f"{partition.content.value} is the content of a partition above")
        if partition.label and any(
            other.label == partition.label and other.filesystem is not None for other in before
        ):
            where.at(".label").fail(f"{partition.label} is the label of a partition above")
    if not any(partition.mount == ROOT for partition, _ in partitions):
        whole.at(".partitions").fail("no partition is the root", hint=f"one has the key mount: /\n{_WHOLE}")


def _check_sizes(layout: Layout, where: Where) -> None:
    for partition in layout.partitions:
        if partition.size is Sizing.REST and partition.headroom and layout.size is not Sizing.FIT:
            where.fail(
                f"headroom of {partition.name}, which has the rest: it counts on a disk that is as small as fits",
                hint="write size: fit for the disk as well, or leave headroom out",
            )


def document(layout: Layout) -> dict[str, object]:
    """The layout as a value of JSON that parse_layout reads back."""
    own: dict[str, object] = {"table": layout.table.value, "alignment": written(layout.alignment)}
    if layout.size is not None:
        own["size"] = written(layout.size)
    own["partitions"] = [_document(partition) for partition in layout.partitions]
    return own


def _document(partition: Partition) -> Mapping[str, object]:
    kind = partition.type
    found: dict[str, object] = {
        "name": partition.name,
        "type": f"{kind:#04x}" if isinstance(kind, int) else written(kind),
        "size": written(partition.size),
    }
    for key in ("headroom", "filesystem", "label", "mount", "content"):
        value = getattr(partition, key)
        if value:
            found[key] = written(value)
    if partition.options:
        found["options"] = list(partition.options)
    if partition.flags:
        found["flags"] = sorted(flag.value for flag in partition.flags)
    return found

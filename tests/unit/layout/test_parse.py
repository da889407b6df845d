"""The parser, and the schema beside it: both must take and refuse the same layouts."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dibo.errors import LayoutError
from dibo.layout.merge import complete, document, merge, parse_layout
from dibo.layout.model import (
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
from dibo.layout.parse import LAYOUT_SCHEMA, Statement, parse_statement
from dibo.units import MIB
from tests.unit.disk.sample_requests import EXAMPLE, example

ORIGIN = "vm/flavour.yaml"
Change = Callable[[Any], object]


def partition(index: int, **values: object) -> Change:
    return lambda disk: disk["partitions"][index].update(values)


def without(index: int, key: str) -> Change:
    return lambda disk: disk["partitions"][index].pop(key)


def test_the_example() -> None:
    assert parse_layout(example(), origin=ORIGIN, path="disk") == Layout(
        table=TableType.GPT,
        partitions=(
            Partition(
                name="bios", type=PartitionType.BIOS_BOOT, size=MIB, content=PartitionContent.GRUB_CORE
            ),
            Partition(
                name="esp",
                type=PartitionType.ESP,
                size=64 * MIB,
                filesystem=FileSystemType.VFAT,
                label="UEFI",
                mount=PurePosixPath("/boot/efi"),
                content=PartitionContent.ESP,
            ),
            Partition(
                name="root",
                type=PartitionType.LINUX_ROOT,
                size=Sizing.REST,
                filesystem=FileSystemType.EXT4,
                label="cloudimg-rootfs",
                mount=PurePosixPath("/"),
            ),
        ),
    )


def test_the_root_is_the_partition_mounted_there() -> None:
    assert parse_layout(example(), origin=ORIGIN).root.name == "root"


WRONG: dict[str, tuple[Change, str, str]] = {
    "unknown table": (lambda disk: disk.update(table="gpr"), "disk.table", "gpt"),
    "no table": (lambda disk: disk.pop("table"), "disk", "table is missing"),
    "misspelt key": (lambda disk: disk.update(partition=[]), "disk.partition", "did you mean partitions?"),
    "no list": (lambda disk: disk.update(partitions={}), "disk.partitions", "a list"),
    "no partitions": (lambda disk: disk.update(partitions=[]), "disk.partitions", "1 to 128"),
    "too many": (
        lambda disk: disk["partitions"].extend(
            {"name": f"p{index}", "type": "linux", "size": "1M"} for index in range(126)
        ),
        "disk.partitions",
        "1 to 128",
    ),
    "not a mapping": (
        lambda disk: disk["partitions"].append("swap"),
        "disk.partitions[3]",
        "expected a mapping",
    ),
    "misspelt partition key": (
        partition(1, file_system="vfat"),
        "disk.partitions[1].file_system",
        "did you mean filesystem?",
    ),
    "misspelt type": (partition(0, type="biosboot"), "disk.partitions[0].type", "did you mean bios-boot?"),
    "type that cannot be hashed": (partition(0, type=[]), "disk.partitions[0].type", "expected one of"),
    "no type": (without(0, "type"), "disk.partitions[0]", "type is missing"),
    "capital name": (partition(2, name="Root"), "disk.partitions[2].name", "got 'Root'"),
    "long name": (partition(2, name="r" * 37), "disk.partitions[2].name", "1 to 36"),
    "size without unit": (partition(1, size="64"), "disk.partitions[1].size", "got '64'"),
    "size as number": (partition(1, size=64), "disk.partitions[1].size", "got 64"),
    "no size": (partition(1, size="0MiB"), "disk.partitions[1].size", "expected a size"),
    "no partition size": (without(2, "size"), "disk.partitions[2]", "size is missing"),
    "a size of the disk that leaves nothing": (lambda disk: disk.update(size="rest"), "disk.size", "or fit"),
    "odd alignment": (lambda disk: disk.update(alignment="3MiB"), "disk.alignment", "power of two"),
    "tiny alignment": (lambda disk: disk.update(alignment="1KiB"), "disk.alignment", "4KiB to 1GiB"),
    "headroom of a size": (partition(1, headroom="5%"), "disk.partitions[1].headroom", "size: fit"),
    "headroom of the rest": (partition(2, headroom="5%"), "disk", "has a fixed size"),
    "headroom of what is stored, and more": (
        lambda disk: disk["partitions"][2].update(size="fit", headroom="ten"),
        "disk.partitions[2].headroom",
        "10%",
    ),
    "options that are no words": (
        partition(2, options="no atime"),
        "disk.partitions[2].options",
        "mount option",
    ),
    "options of nothing mounted": (
        lambda disk: disk["partitions"].insert(
            0, {"name": "x", "type": "linux", "size": "1G", "filesystem": "ext4", "options": "ro"}
        ),
        "disk.partitions[0].options",
        "require a mount point",
    ),
    "flags that are no list": (partition(2, flags="bootable"), "disk.partitions[2].flags", "a list"),
    "misspelt flag": (
        partition(2, flags=["bootible"]),
        "disk.partitions[2].flags[0]",
        "did you mean bootable?",
    ),
    "code as a number": (partition(2, type=0x83), "disk.partitions[2].type", '"0x83"'),
    "a code in a gpt": (partition(2, type="0x83"), "disk.partitions[2].type", "requires table mbr"),
    "a guid in an mbr": (
        lambda disk: disk.update(
            table="mbr",
            partitions=[{**disk["partitions"][2], "type": "0fc63daf-8483-4772-8e79-3d69d8477de4"}],
        ),
        "disk.partitions[0].type",
        "requires table gpt",
    ),
    "bios-boot in an mbr": (
        lambda disk: disk.update(table="mbr"),
        "disk.partitions[0].type",
        "flags: [bootable]",
    ),
    "flag of a gpt in an mbr": (
        lambda disk: disk.update(table="mbr", partitions=[{**disk["partitions"][2], "flags": ["no-auto"]}]),
        "disk.partitions[0].flags",
        "an MBR has no flag no-auto",
    ),
    "mounted swap": (
        partition(2, filesystem="swap", mount="/swap"),
        "disk.partitions[2].mount",
        "cannot have a mount point",
    ),
    "fit of nothing": (
        lambda disk: disk["partitions"].append(
            {"name": "s", "type": "swap", "size": "fit", "filesystem": "swap"}
        ),
        "disk.partitions[3].size",
        "size fit requires",
    ),
    "label of nothing": (
        partition(2, filesystem="none", mount="/x"),
        "disk.partitions[2].label",
        "a label requires a file system",
    ),
    "same label": (
        lambda disk: disk["partitions"].append(
            {"name": "b", "type": "linux", "size": "1G", "filesystem": "ext4", "label": "cloudimg-rootfs"}
        ),
        "disk.partitions[3].label",
        "an earlier partition already has the label",
    ),
    "esp without file system": (without(1, "filesystem"), "disk.partitions[1]", "requires filesystem vfat"),
    "two rests": (partition(1, size="rest"), "disk.partitions[2].size", "only one"),
    "unknown file system": (partition(2, filesystem="ext5"), "disk.partitions[2].filesystem", "ext4"),
    "label without file system": (
        partition(0, label="B"),
        "disk.partitions[0].label",
        "a label requires a file system",
    ),
    "small vfat label": (partition(1, label="uefi"), "disk.partitions[1].label", "capitals"),
    "long vfat label": (partition(1, label="A" * 12), "disk.partitions[1].label", "vfat allows 11"),
    "long ext4 label": (partition(2, label="a" * 17), "disk.partitions[2].label", "ext4 allows 16"),
    "relative mount": (partition(1, mount="boot/efi"), "disk.partitions[1].mount", "absolute"),
    "climbing mount": (partition(1, mount="/boot/../etc"), "disk.partitions[1].mount", "absolute"),
    "mount with a line break": (partition(1, mount="/boot/efi\n"), "disk.partitions[1].mount", "absolute"),
    "mount without file system": (partition(0, mount="/x"), "disk.partitions[0].mount", "file system"),
    "no root": (without(2, "mount"), "disk.partitions", "no partition is mounted at /"),
    "vfat root": (
        lambda disk: disk.update(
            partitions=[{"name": "r", "type": "linux", "size": "1G", "filesystem": "vfat", "mount": "/"}]
        ),
        "disk.partitions[0].filesystem",
        "cannot be the root",
    ),
    "ext4 esp": (partition(1, filesystem="ext4"), "disk.partitions[1]", "requires filesystem vfat"),
    "bios-boot with file system": (
        partition(0, filesystem="ext4"),
        "disk.partitions[0].filesystem",
        "cannot have a file system",
    ),
    "grub-core elsewhere": (partition(0, type="linux"), "disk.partitions[0].content", "bios-boot"),
    "esp content on ext4": (partition(2, content="esp"), "disk.partitions[2].content", "vfat"),
    "same name": (partition(2, name="esp"), "disk.partitions[2].name", "the name esp is already used"),
    "same mount": (partition(2, mount="/boot/efi"), "disk.partitions[2].mount", "already mounted"),
}
OF_WHOLE_LAYOUTS = {
    "no table",
    "no type",
    "no partition size",
    "no root",
    "bios-boot in an mbr",
    "flag of a gpt in an mbr",
} | {
    "label without file system",
    "mount without file system",
    "esp without file system",
    "options of nothing mounted",
    "fit of nothing",
    "a code in a gpt",
    "a guid in an mbr",
    "headroom of the rest",
}
"""What another flavour might still put right: the schema, and the parser of one statement, let it pass."""
BEYOND_THE_SCHEMA = {
    "same name",
    "same mount",
    "same label",
    "mount with a line break",
    "odd alignment",
    "tiny alignment",
} | OF_WHOLE_LAYOUTS


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_its_place(case: str) -> None:
    change, path, words = WRONG[case]
    disk = example()
    change(disk)
    with pytest.raises(LayoutError) as caught:
        parse_layout(disk, origin=ORIGIN, path="disk")
    assert caught.value.message.startswith(f"{ORIGIN}: {path}: ")
    assert words in f"{caught.value.message}\n{caught.value.hint}"


@pytest.mark.parametrize("case", sorted(WRONG.keys() - BEYOND_THE_SCHEMA))
def test_the_schema_refuses_it_as_well(case: str) -> None:
    disk = example()
    WRONG[case][0](disk)
    assert not by_schema(disk)


@pytest.mark.parametrize("data", [None, [], "gpt", 1])
def test_only_a_mapping_is_a_layout(data: object) -> None:
    with pytest.raises(LayoutError, match="layout: expected a mapping"):
        parse_layout(data, origin=ORIGIN)
    assert not by_schema(data)


def large_sectors(**more: Any) -> dict[str, Any]:
    root = {"name": "root", "type": "linux-root", "size": "rest", "filesystem": "ext4", "mount": "/"}
    esp = {"name": "esp", "type": "esp", "size": "64MiB", "filesystem": "vfat", "content": "esp"}
    return {"table": "gpt", "sector": 4096, "partitions": [esp, {**root, **more}]}


def test_large_sectors() -> None:
    layout = parse_layout(large_sectors(), origin=ORIGIN)
    assert layout.sector == 4096
    assert document(layout)["sector"] == 4096
    assert parse_layout(document(layout), origin=ORIGIN) == layout
    small = parse_layout({**large_sectors(), "sector": 512}, origin=ORIGIN)
    assert small.sector == 512
    assert "sector" not in document(small), "layouts of before say nothing of it"


@pytest.mark.parametrize("sector", [1024, 0, "4096", True, 512.0, None])
def test_sectors_that_no_disk_has(sector: object) -> None:
    with pytest.raises(LayoutError, match=r"layout\.sector: expected 512 or 4096, got"):
        parse_layout({**large_sectors(), "sector": sector}, origin=ORIGIN)


def test_large_sectors_and_bios() -> None:
    bios = {"name": "bios", "type": "bios-boot", "size": "1MiB", "content": "grub-core"}
    disk = large_sectors()
    disk["partitions"].insert(0, bios)
    with pytest.raises(
        LayoutError, match="BIOS does not boot from sectors of 4096 bytes, and bios is for it"
    ):
        parse_layout(disk, origin=ORIGIN)
    with pytest.raises(LayoutError, match="sectors of 4096 bytes require table gpt"):
        parse_layout({**large_sectors(type="linux"), "table": "mbr"}, origin=ORIGIN)
    assert parse_layout(large_sectors(filesystem="xfs"), origin=ORIGIN).sector == 4096


def test_two_contents_of_one_kind() -> None:
    disk = example()
    disk["partitions"].append({**disk["partitions"][0], "name": "bios2"})
    with pytest.raises(
        LayoutError, match=r"partitions\[3\]\.content: an earlier partition already has the content grub-core"
    ):
        parse_layout(disk, origin=ORIGIN)
    assert not by_schema(disk)


def by_schema(disk: object) -> bool:
    return bool(jsonschema.Draft202012Validator(LAYOUT_SCHEMA).is_valid(disk))


def by_parser(disk: object) -> bool:
    try:
        parse_layout(disk, origin=ORIGIN)
    except LayoutError:
        return False
    return True


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(LAYOUT_SCHEMA)
    assert by_schema(example())


def sometimes(key: str, *values: str) -> st.SearchStrategy[dict[str, str]]:
    return st.one_of(st.just({}), st.sampled_from(values).map(lambda value: {key: value}))


def merged(parts: tuple[dict[str, str], ...]) -> dict[str, str]:
    return {key: value for part in parts for key, value in part.items()}


some_partition = st.tuples(
    sometimes("type", "bios-boot", "esp", "linux-root", "linux", "swap", "0x83", "linux-var"),
    sometimes("size", "1MiB", "1.5G", "20 MB", "0.5G", "5", "rest", "fit"),
    sometimes("headroom", "10%", "1MiB", "-1%"),
    sometimes("filesystem", "vfat", "ext4", "xfs", "btrfs", "swap", "none"),
    sometimes("label", "UEFI", "data", "a much longer label", " x", "MY DISK"),
    sometimes("mount", "/", "/srv", "/boot/efi", "/a//b", "/.x", "srv"),
    sometimes("options", "noatime", "noatime,uid=5", "no atime", ""),
    sometimes("content", "esp", "grub-core"),
).map(merged)


@settings(max_examples=200)
@given(st.lists(some_partition, max_size=3))
def test_schema_and_parser_agree_about_one_statement(partitions: list[dict[str, str]]) -> None:
    disk = {
        "table": "gpt",
        "partitions": [{"name": f"p{index}", **each} for index, each in enumerate(partitions)],
    }
    try:
        parse_statement(disk, origin=ORIGIN)
    except LayoutError:
        assert not by_schema(disk)
    else:
        assert by_schema(disk) or not by_parser(disk), (
            "what no other flavour can put right is refused in the end"
        )


@pytest.mark.parametrize("case", sorted(OF_WHOLE_LAYOUTS))
def test_what_another_flavour_may_say_is_no_error_yet(case: str) -> None:
    disk = example()
    WRONG[case][0](disk)
    parse_statement(disk, origin=ORIGIN)


# Together


def values(text: str, name: str = "x") -> tuple[str, Statement]:
    return f"the flavour {name!r}", parse_statement(yaml.safe_load(text), origin=f"{name}/layout.yaml")


VM = values(EXAMPLE, "vm")
STATE = values(
    "partitions: [{name: persistent-state, type: linux, size: 1GiB, filesystem: ext4, label: state, mount: /srv}]",
    "persistent-state",
)


def together(*statements: tuple[str, Statement]) -> Layout:
    merged_statement = merge(statements)
    assert merged_statement is not None
    return complete(merged_statement)


def test_a_flavour_adds_a_partition_and_the_rest_stays_last() -> None:
    for order in ([VM, STATE], [STATE, VM]):
        layout = together(*order)
        assert [each.name for each in layout.partitions if each.name != "persistent-state"] == [
            "bios",
            "esp",
            "root",
        ]
        assert layout.partitions[-1].size is Sizing.REST
        assert layout.root.label == "cloudimg-rootfs"


def test_what_agrees_is_said_once_and_what_is_new_is_added() -> None:
    layout = together(
        VM,
        values(
            """
            table: gpt
            alignment: 4MiB
            partitions:
              - {name: root, type: linux-root, options: [noatime], flags: [grow-file-system]}
              - {name: esp, size: 65536 KiB}
            """,
            "tuned",
        ),
    )
    assert len(layout.partitions) == 3
    assert layout.alignment == 4 * MIB
    assert layout.root.options == ("noatime",)
    assert layout.root.flags == {Flag.GROW_FILE_SYSTEM}


CONTRADICTIONS = {
    "table": ("table: mbr", "the disk: table is gpt in the first, mbr in the second"),
    "size": (
        "partitions: [{name: esp, size: 1GiB}]",
        "partition esp: size is 64MiB in the first, 1GiB in the second",
    ),
    "type": (
        "partitions: [{name: root, type: linux}]",
        "partition root: type is linux-root in the first, linux in the second",
    ),
    "file system": (
        "partitions: [{name: root, filesystem: xfs}]",
        "filesystem is ext4 in the first, xfs in the second",
    ),
    "mount": ("partitions: [{name: root, mount: /srv}]", "mount is / in the first, /srv in the second"),
    "label": (
        "partitions: [{name: root, label: r}]",
        "label is cloudimg-rootfs in the first, r in the second",
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contradiction_names_both(case: str) -> None:
    text, words = CONTRADICTIONS[case]
    with pytest.raises(LayoutError, match="the flavour 'vm' and the flavour 'other' contradict") as caught:
        merge([VM, values(text, "other")])
    assert words in caught.value.message


def test_options_in_another_order_agree() -> None:
    one = values("partitions: [{name: a, options: 'ro,noatime'}]", "one")
    assert merge([one, values("partitions: [{name: a, options: [noatime, ro]}]", "two")]) is not None


def test_flavours_that_only_add_make_no_disk() -> None:
    with pytest.raises(LayoutError, match="table is missing") as caught:
        together(STATE)
    assert "`vm`" in caught.value.hint


def test_two_flavours_cannot_both_have_the_rest_or_the_same_place() -> None:
    data = "partitions: [{name: data, type: linux, size: rest, filesystem: ext4, mount: /srv}]"
    with pytest.raises(
        LayoutError, match=r"data/layout.yaml: layout.partitions\[0\].size: only one"
    ) as caught:
        together(VM, values(data, "data"))
    with pytest.raises(LayoutError, match="an earlier partition is already mounted"):
        together(VM, values(data.replace("rest", "1GiB").replace("/srv", "/"), "data"))
    assert "rest" in caught.value.message


whole_partition = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "c", "d"]),
        "type": st.sampled_from(["linux", "linux-var", "933ac7e1-2eb4-4f13-b844-0e14e2aef915"]),
        "size": st.sampled_from(["1MiB", "1.5GiB", "3KiB", "fit"]),
        "filesystem": st.sampled_from(["ext4", "xfs", "btrfs"]),
    },
    optional={
        "options": st.lists(st.sampled_from(["noatime", "ro", "x-systemd.growfs"]), min_size=1, unique=True),
        "flags": st.lists(st.sampled_from(["no-auto", "read-only"]), min_size=1, unique=True),
    },
)
statements = st.lists(
    whole_partition.map(lambda each: {**each, "mount": f"/srv/{each['name']}"}),
    min_size=1,
    max_size=4,
    unique_by=lambda each: str(each["name"]),
)


@settings(max_examples=150)
@given(st.lists(statements, min_size=1, max_size=4))
def test_merging(parts: list[list[dict[str, Any]]]) -> None:
    """Either all that was said is in the layout, or two said different things of one partition: no third way; and
    what is first on the disk is what was first said."""
    called = [
        (f"f{index}", parse_statement({"partitions": part}, origin=f"f{index}"))
        for index, part in enumerate([*parts, example()["partitions"]])
    ]
    values: dict[str, dict[str, Any]] = {}
    agree = True
    for _, statement in called:
        for each in statement.partitions:
            before = values.setdefault(each.name, {})
            for key, value in each.values:
                same = before.setdefault(key, value)
                agree &= same == value or (isinstance(value, tuple) and set(same) == set(value))
    if not agree:
        with pytest.raises(LayoutError, match="contradict"):
            merge(called)
        return
    merged_statement = merge([*called, ("g", parse_statement({"table": "gpt"}, origin="g"))])
    assert merged_statement is not None
    assert {each.name: dict(each.values) for each in merged_statement.partitions} == values
    layout = complete(merged_statement)
    assert [each.name for each in layout.partitions] == [*(name for name in values if name != "root"), "root"]
    assert parse_layout(json.loads(json.dumps(document(layout))), origin="label") == layout


def test_a_layout_is_written_as_it_is_read() -> None:
    data = {
        "table": "mbr",
        "alignment": "4KiB",
        "size": "fit",
        "partitions": [
            {"name": "a", "type": "0x27", "size": "1.5GiB", "flags": ["bootable"]},
            {
                "name": "s",
                "type": "swap",
                "size": "8MiB",
                "filesystem": "swap",
                "label": "s",
                "options": ["pri=1"],
            },
            {
                "name": "root",
                "type": "linux",
                "size": "fit",
                "headroom": "12.5%",
                "filesystem": "ext4",
                "mount": "/",
            },
        ],
    }
    layout = parse_layout(data, origin=ORIGIN)
    assert layout.root.headroom == Headroom(percent=Decimal("12.5"))
    assert parse_layout(document(layout), origin=ORIGIN) == layout


def test_headroom_in_bytes() -> None:
    assert Headroom(percent=Decimal("12.5")).of(800) == 100
    assert Headroom(percent=Decimal(10)).of(1) == 1
    assert Headroom(size=7).of(1) == 7

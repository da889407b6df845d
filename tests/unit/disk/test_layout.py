"""The parser, and the schema beside it: both must take and refuse the same layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dibo.disk.layout import LAYOUT_SCHEMA, parse_layout
from dibo.disk.partition import Content, FileSystem, Layout, Partition, PartitionType, Table
from dibo.errors import LayoutError
from dibo.units import MIB
from tests.unit.disk.samples import example

ORIGIN = "vm/flavour.yaml"
Change = Callable[[Any], object]


def partition(index: int, **values: object) -> Change:
    return lambda disk: disk["partitions"][index].update(values)


def without(index: int, key: str) -> Change:
    return lambda disk: disk["partitions"][index].pop(key)


def test_the_example() -> None:
    assert parse_layout(example(), origin=ORIGIN) == Layout(
        table=Table.GPT,
        partitions=(
            Partition(name="bios", type=PartitionType.BIOS_BOOT, size=MIB, content=Content.GRUB_CORE),
            Partition(
                name="esp",
                type=PartitionType.ESP,
                size=64 * MIB,
                filesystem=FileSystem.VFAT,
                label="UEFI",
                mount=PurePosixPath("/boot/efi"),
                content=Content.ESP,
            ),
            Partition(
                name="root",
                type=PartitionType.LINUX_ROOT,
                size=None,
                filesystem=FileSystem.EXT4,
                label="cloudimg-rootfs",
                mount=PurePosixPath("/"),
            ),
        ),
    )


def test_the_root_is_the_partition_mounted_there() -> None:
    assert parse_layout(example(), origin=ORIGIN).root.name == "root"


WRONG: dict[str, tuple[Change, str, str]] = {
    "mbr": (lambda disk: disk.update(table="mbr"), "disk.table", "cannot be made yet"),
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
        "a mapping is wanted",
    ),
    "misspelt partition key": (
        partition(1, file_system="vfat"),
        "disk.partitions[1].file_system",
        "did you mean filesystem?",
    ),
    "misspelt type": (partition(0, type="biosboot"), "disk.partitions[0].type", "did you mean bios-boot?"),
    "type that cannot be hashed": (partition(0, type=[]), "disk.partitions[0].type", "none of"),
    "no type": (without(0, "type"), "disk.partitions[0]", "type is missing"),
    "capital name": (partition(2, name="Root"), "disk.partitions[2].name", "'Root' is not a name"),
    "long name": (partition(2, name="r" * 37), "disk.partitions[2].name", "1 to 36"),
    "size without unit": (partition(1, size="64"), "disk.partitions[1].size", "'64' is not a size"),
    "size as number": (partition(1, size=64), "disk.partitions[1].size", "64 is not a size"),
    "no size": (partition(1, size="0MiB"), "disk.partitions[1].size", "is not a size"),
    "two rests": (partition(1, size="rest"), "disk.partitions[2].size", "only one"),
    "unknown file system": (partition(2, filesystem="ext5"), "disk.partitions[2].filesystem", "ext4"),
    "label without file system": (partition(0, label="B"), "disk.partitions[0].label", "only a file system"),
    "small vfat label": (partition(1, label="uefi"), "disk.partitions[1].label", "capitals"),
    "long vfat label": (partition(1, label="A" * 12), "disk.partitions[1].label", "vfat takes 11"),
    "long ext4 label": (partition(2, label="a" * 17), "disk.partitions[2].label", "ext4 takes 16"),
    "relative mount": (partition(1, mount="boot/efi"), "disk.partitions[1].mount", "absolute"),
    "climbing mount": (partition(1, mount="/boot/../etc"), "disk.partitions[1].mount", "absolute"),
    "mount with a line break": (partition(1, mount="/boot/efi\n"), "disk.partitions[1].mount", "absolute"),
    "mount without file system": (partition(0, mount="/x"), "disk.partitions[0].mount", "file system"),
    "no root": (without(2, "mount"), "disk.partitions", "no partition is the root"),
    "vfat root": (
        lambda disk: disk.update(
            partitions=[{"name": "r", "type": "linux", "size": "1G", "filesystem": "vfat", "mount": "/"}]
        ),
        "disk.partitions[0].filesystem",
        "cannot hold a root",
    ),
    "ext4 esp": (partition(1, filesystem="ext4"), "disk.partitions[1]", "only vfat"),
    "bios-boot with file system": (
        partition(0, filesystem="ext4"),
        "disk.partitions[0].filesystem",
        "has no file system",
    ),
    "grub-core elsewhere": (partition(0, type="linux"), "disk.partitions[0].content", "bios-boot"),
    "esp content on ext4": (partition(2, content="esp"), "disk.partitions[2].content", "vfat"),
    "same name": (partition(2, name="esp"), "disk.partitions[2].name", "esp is taken"),
    "same mount": (partition(2, mount="/boot/efi"), "disk.partitions[2].mount", "mounted from"),
}
BEYOND_THE_SCHEMA = {"same name", "same mount", "mount with a line break"}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_its_place(case: str) -> None:
    change, path, words = WRONG[case]
    disk = example()
    change(disk)
    with pytest.raises(LayoutError) as caught:
        parse_layout(disk, origin=ORIGIN)
    assert caught.value.message.startswith(f"{ORIGIN}: {path}: ")
    assert words in f"{caught.value.message}\n{caught.value.hint}"


@pytest.mark.parametrize("case", sorted(WRONG.keys() - BEYOND_THE_SCHEMA))
def test_the_schema_refuses_it_as_well(case: str) -> None:
    disk = example()
    WRONG[case][0](disk)
    assert not by_schema(disk)


@pytest.mark.parametrize("data", [None, [], "gpt", 1])
def test_only_a_mapping_is_a_layout(data: object) -> None:
    with pytest.raises(LayoutError, match="disk: a mapping is wanted"):
        parse_layout(data, origin=ORIGIN)
    assert not by_schema(data)


def test_two_contents_of_one_kind() -> None:
    disk = example()
    disk["partitions"].append({**disk["partitions"][0], "name": "bios2"})
    with pytest.raises(LayoutError, match=r"partitions\[3\]\.content: grub-core is the content"):
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
    sometimes("type", "bios-boot", "esp", "linux-root", "linux", "swap").filter(bool),
    sometimes("size", "1MiB", "1.5G", "20 MB", "0.5G", "5", "rest").filter(bool),
    sometimes("filesystem", "vfat", "ext4", "xfs", "btrfs"),
    sometimes("label", "UEFI", "data", "a much longer label", " x", "MY DISK"),
    sometimes("mount", "/", "/srv", "/boot/efi", "/a//b", "/.x", "srv"),
    sometimes("content", "esp", "grub-core"),
).map(merged)


@settings(max_examples=120)
@given(st.lists(some_partition, max_size=3), st.booleans())
def test_schema_and_parser_agree(partitions: list[dict[str, str]], with_root: bool) -> None:
    named = [{"name": f"p{index}", **each} for index, each in enumerate(partitions)]
    if with_root:
        named.append(example()["partitions"][2])
    disk = {"table": "gpt", "partitions": named}
    mounts = [each["mount"] for each in named if "mount" in each]
    if len(mounts) == len(set(mounts)):
        assert by_schema(disk) == by_parser(disk)

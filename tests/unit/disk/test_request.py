"""What is decided about artefacts before anything is built: names, and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from dibo.artefacts.converter import Converter, Takes
from dibo.disk.filesystem_strategy import choose_way
from dibo.disk.request import Order, by_the_way_that_works, check_order, needs_directory, output_path
from dibo.errors import LayoutError, LoopError, OutputError, ToolMissing, UsageError
from dibo.layout.model import ROOT, FileSystem, Layout, Partition, PartitionType, Size, Sizing, Table
from dibo.units import GIB, MIB


def converter(kind: str, *, takes: Takes = Takes.DISK, tools: tuple[str, ...] = ()) -> Converter:
    return Converter(type=kind, path=Path("/nowhere"), summary="", takes=takes, tools=tools)


def layout(size: Size = Sizing.REST, filesystem: FileSystem = FileSystem.EXT4) -> Layout:
    root = Partition(name="root", type=PartitionType.LINUX, size=size, filesystem=filesystem, mount=ROOT)
    return Layout(table=Table.GPT, partitions=(root,))


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Order(
        output=tmp_path / "web",
        converters=(converter("raw"),),
        layout=None,
        filesystem="ext4",
        image_size=2 * GIB,
        size_set_by="",
        identity="",
        architecture="amd64",
        epoch=0,
        options={},
    )


@pytest.mark.parametrize(
    ("name", "kind", "path"),
    [
        ("web", "qcow2", "web.qcow2"),
        ("web.qcow2", "qcow2", "web.qcow2"),
        ("web.qcow2", "raw", "web.qcow2.raw"),
        ("web-1.0", "raw", "web-1.0.raw"),
        ("out/web", "tar", "out/web.tar"),
        ("qcow2", "qcow2", "qcow2.qcow2"),
        ("webqcow2", "qcow2", "webqcow2.qcow2"),
        (".qcow2", "qcow2", ".qcow2"),
    ],
)
def test_names(name: str, kind: str, path: str) -> None:
    assert output_path(Path(name), kind) == Path(path)


def test_all_is_well(order: Order) -> None:
    check_order(order)
    check_order(
        replace(order, converters=(converter("raw"), converter("tar", takes=Takes.ROOT)), layout=layout())
    )


def test_two_types_and_one_file(order: Order) -> None:
    both = (converter("gz"), converter("tar.gz"))
    with pytest.raises(UsageError, match="two types would be written to the same file"):
        check_order(replace(order, converters=both, output=order.output.with_name("web.tar.gz")))


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_name_that_is_none(order: Order, name: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a file"):
        check_order(replace(order, output=Path(name)))


def test_a_directory_that_is_missing_or_a_file(order: Order, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=f"the directory {tmp_path}/no does not exist"):
        check_order(replace(order, output=tmp_path / "no" / "web"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="does not exist"):
        check_order(replace(order, output=tmp_path / "file" / "web"))


def test_a_directory_in_the_way(order: Order, tmp_path: Path) -> None:
    (tmp_path / "web.raw").mkdir()
    with pytest.raises(OutputError, match=r"web\.raw is a directory"):
        check_order(order)


def test_a_directory_that_cannot_be_written(order: Order) -> None:
    with pytest.raises(OutputError, match="cannot write into /proc"):
        check_order(replace(order, output=Path("/proc/sys/web")))


def test_a_tool_that_is_missing(order: Order) -> None:
    with pytest.raises(ToolMissing, match="no-such-tool is not installed, and ova needs it"):
        check_order(replace(order, converters=(converter("ova", tools=("no-such-tool",)),)))


def test_mke2fs_is_needed_for_the_elders_of_ext4_alone(
    order: Order, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("dibo.system.process._with_sbin", lambda path: path)
    check_order(order)
    check_order(replace(order, filesystem="ext3", converters=(converter("tar", takes=Takes.ROOT),)))
    with pytest.raises(ToolMissing, match="mke2fs is not installed, and ext3 needs it"):
        check_order(replace(order, filesystem="ext3"))


def test_file_systems(order: Order) -> None:
    for kind in ("ext2", "ext3", "ext4"):
        check_order(replace(order, filesystem=kind))
    with pytest.raises(LayoutError, match=r"file system 'zfs'$"):
        check_order(replace(order, filesystem="zfs"))
    with pytest.raises(LayoutError, match="cannot make the file system 'xfs' without root"):
        check_order(replace(order, filesystem="xfs"))
    tree = (converter("tar", takes=Takes.ROOT),)
    check_order(replace(order, filesystem="zfs", converters=tree))  # nobody asks for one


def test_a_layout_that_does_not_fit(order: Order) -> None:
    with pytest.raises(LayoutError, match="are missing"):
        check_order(replace(order, layout=layout(3 * GIB)))
    with pytest.raises(LayoutError, match="are missing"):
        check_order(replace(order, layout=layout(), image_size=MIB))


def test_the_order_for_an_image(order: Order) -> None:
    assert order.for_image("abc") == replace(order, identity="abc")


def part(kind: FileSystem | None, mount: str = "/srv") -> Partition:
    where = PurePosixPath(mount) if mount else None
    return Partition(name="p", type=PartitionType.LINUX, size=GIB, filesystem=kind, mount=where)


@pytest.mark.parametrize(
    ("partition", "options", "way"),
    [
        (part(FileSystem.EXT4), {}, "dibo"),
        (part(FileSystem.VFAT), {}, "dibo"),
        (part(FileSystem.SWAP, ""), {}, "dibo"),
        (part(FileSystem.EXT4, "/"), {"filesystem": "ext3"}, "mke2fs"),
        (part(FileSystem.XFS), {}, "mkfs.xfs"),
        (part(FileSystem.XFS, ""), {}, "mkfs.xfs"),
        (part(FileSystem.XFS, "/"), {}, "loop-disk"),
        (part(FileSystem.BTRFS, "/"), {}, "mkfs.btrfs"),
        (part(FileSystem.BTRFS, "/"), {"directory": False}, "loop-disk"),
        (part(FileSystem.BTRFS, ""), {"directory": False}, "mkfs.btrfs"),
        (part(FileSystem.EXT4), {"loop": True}, "loop-disk"),
        (part(FileSystem.VFAT), {"loop": True}, "dibo"),
        (part(None, ""), {}, "None"),
    ],
)
def test_the_way_with_the_fewest_privileges(partition: Partition, options: dict[str, Any], way: str) -> None:
    choice = choose_way(partition, **options)
    assert str(choice) == way
    assert choice is None or choice.reason


def test_a_directory_is_wanted_only_where_a_program_reads_one(order: Order) -> None:
    assert not needs_directory(replace(order, layout=layout()))
    assert not needs_directory(replace(order, layout=layout(filesystem=FileSystem.XFS)))
    assert needs_directory(replace(order, layout=layout(filesystem=FileSystem.BTRFS)))
    assert needs_directory(replace(order, filesystem="ext3"))
    assert not needs_directory(replace(order, filesystem="ext3", loop=True))


def test_where_nothing_but_a_loop_device_will_do_that_is_said_or_refused(order: Order) -> None:
    said: list[str] = []
    assert (
        by_the_way_that_works(replace(order, layout=layout()), directory=False, say=said.append).loop is False
    )
    xfs = replace(order, layout=layout(filesystem=FileSystem.XFS))
    try:
        assert by_the_way_that_works(xfs, directory=True, say=said.append).loop
    except LoopError as error:
        said.append(error.message)
    assert len(said) == 1
    assert "root: without root, mkfs.xfs fills a file system from a list" in said[0]

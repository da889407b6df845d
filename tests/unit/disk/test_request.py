"""What is decided about artefacts before anything is built: names, and refusals."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from dibo.artefacts.converter import Converter, Takes
from dibo.disk.filesystem_strategy import choose_way
from dibo.disk.request import (
    DiskRequest,
    check_filesystem,
    check_request,
    choice_of,
    decide_loop,
    needs_directory,
    output_path,
    require_kit_type,
)
from dibo.errors import ConverterError, LayoutError, LoopError, OutputError, ToolMissing, UsageError
from dibo.layout.model import ROOT, FileSystemType, Layout, Partition, PartitionType, Size, Sizing, TableType
from dibo.system.report import Report
from dibo.units import GIB, MIB
from tests.support.requirements import need


def converter(kind: str, *, takes: Takes = Takes.DISK, tools: tuple[str, ...] = ()) -> Converter:
    command = () if kind in ("raw", "qcow2") else ("./convert",)
    return Converter(type=kind, path=Path("/nowhere"), summary="", takes=takes, tools=tools, command=command)


def layout(size: Size = Sizing.REST, filesystem: FileSystemType = FileSystemType.EXT4) -> Layout:
    root = Partition(name="root", type=PartitionType.LINUX, size=size, filesystem=filesystem, mount=ROOT)
    return Layout(table=TableType.GPT, partitions=(root,))


@pytest.fixture
def wish(tmp_path: Path) -> DiskRequest:
    return DiskRequest(
        output=tmp_path / "web",
        converters=(converter("raw"),),
        layout=None,
        filesystem="ext4",
        size=2 * GIB,
        size_set_by="",
        architecture="amd64",
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


def test_all_is_well(wish: DiskRequest) -> None:
    check_request(wish)
    check_request(
        replace(wish, converters=(converter("raw"), converter("tar", takes=Takes.ROOT)), layout=layout())
    )


def test_types_whose_readers_know_one_size_of_sectors(wish: DiskRequest) -> None:
    large = replace(layout(), sector=4096)
    own = replace(converter("gce"), sector=512)
    check_request(replace(wish, converters=(own,), layout=layout()))
    check_request(replace(wish, layout=large))
    with pytest.raises(LayoutError, match="gce is read in sectors of 512 bytes") as raised:
        check_request(replace(wish, converters=(converter("raw"), own), layout=large))
    assert "sector: 512" in raised.value.hint


@pytest.mark.parametrize(
    ("kind", "variable", "value"),
    [
        ("microvm", "DIBO_MICROVM_MEMORY", "1G"),
        ("microvm", "DIBO_MICROVM_CPUS", "0"),
        ("microvm", "DIBO_MICROVM_ROOT", "squashfs"),
        ("ova", "DIBO_OVA_CPUS", "0"),
        ("vagrant-virtualbox", "DIBO_OVA_MEMORY", "much"),
    ],
)
def test_variables_of_a_type_are_checked_before_anything_is_read(
    wish: DiskRequest, kind: str, variable: str, value: str
) -> None:
    with pytest.raises(UsageError, match=f"{variable} is '{value}'"):
        check_request(replace(wish, converters=(built_in(kind),), options={variable: value}))
    check_request(replace(wish, converters=(built_in(kind),)))


def built_in(kind: str) -> Converter:
    return Converter(type=kind, path=Path("/nowhere"), summary="", takes=Takes.ROOT, tools=(), command=())


@pytest.mark.parametrize("kind", ["iso", "uki", "netboot"])
def test_types_that_no_kit_helps(wish: DiskRequest, kind: str) -> None:
    with pytest.raises(UsageError, match=f"{kind} cannot be made with a kit: "):
        require_kit_type(replace(wish, converters=(converter("qcow2"), built_in(kind))))
    require_kit_type(
        replace(wish, converters=(converter("qcow2"), converter(kind)))
    )  # another's of that name


def test_two_types_and_one_file(wish: DiskRequest) -> None:
    both = (converter("gz"), converter("tar.gz"))
    with pytest.raises(UsageError, match="two types would be written to the same file"):
        check_request(replace(wish, converters=both, output=wish.output.with_name("web.tar.gz")))


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_name_that_is_none(wish: DiskRequest, name: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a file"):
        check_request(replace(wish, output=Path(name)))


def test_a_directory_that_is_missing_or_a_file(wish: DiskRequest, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=f"the directory {tmp_path}/no does not exist"):
        check_request(replace(wish, output=tmp_path / "no" / "web"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=f"{tmp_path}/file is not a directory"):
        check_request(replace(wish, output=tmp_path / "file" / "web"))


def test_a_directory_in_the_way(wish: DiskRequest, tmp_path: Path) -> None:
    (tmp_path / "web.raw").mkdir()
    with pytest.raises(OutputError, match=r"web\.raw is a directory"):
        check_request(wish)


def test_a_directory_that_cannot_be_written(wish: DiskRequest) -> None:
    with pytest.raises(OutputError, match="cannot write into /proc"):
        check_request(replace(wish, output=Path("/proc/sys/web")))


def test_a_tool_that_is_missing(wish: DiskRequest) -> None:
    with pytest.raises(ToolMissing, match="no-such-tool is not installed, and ova needs it"):
        check_request(replace(wish, converters=(converter("ova", tools=("no-such-tool",)),)))


def test_mke2fs_is_needed_for_the_elders_of_ext4_alone(
    wish: DiskRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("dibo.system.process._with_sbin", lambda path: path)
    check_request(wish)
    check_request(replace(wish, filesystem="ext3", converters=(converter("tar", takes=Takes.ROOT),)))
    with pytest.raises(ToolMissing, match="mke2fs is not installed, and ext3 needs it"):
        check_request(replace(wish, filesystem="ext3"))


def test_file_systems(wish: DiskRequest) -> None:
    for kind in ("ext2", "ext3", "ext4"):
        check_request(replace(wish, filesystem=kind))
    with pytest.raises(LayoutError, match=r"file system 'zfs'$"):
        check_request(replace(wish, filesystem="zfs"))
    with pytest.raises(LayoutError, match="cannot make the file system 'xfs' without root"):
        check_request(replace(wish, filesystem="xfs"))
    tree = (converter("tar", takes=Takes.ROOT),)
    check_request(replace(wish, filesystem="zfs", converters=tree))  # nobody asks for one


def test_a_layout_that_does_not_fit(wish: DiskRequest) -> None:
    with pytest.raises(LayoutError, match="are missing"):
        check_request(replace(wish, layout=layout(3 * GIB)))
    with pytest.raises(LayoutError, match="are missing"):
        check_request(replace(wish, layout=layout(), size=MIB))


def part(kind: FileSystemType | None, mount: str = "/srv") -> Partition:
    where = PurePosixPath(mount) if mount else None
    return Partition(name="p", type=PartitionType.LINUX, size=GIB, filesystem=kind, mount=where)


@pytest.mark.parametrize(
    ("partition", "options", "way"),
    [
        (part(FileSystemType.EXT4), {}, "dibo"),
        (part(FileSystemType.VFAT), {}, "dibo"),
        (part(FileSystemType.SWAP, ""), {}, "dibo"),
        (part(FileSystemType.EXT4, "/"), {"filesystem": "ext3"}, "mke2fs"),
        (part(FileSystemType.XFS), {}, "mkfs.xfs"),
        (part(FileSystemType.XFS, ""), {}, "mkfs.xfs"),
        (part(FileSystemType.XFS, "/"), {}, "loop-disk"),
        (part(FileSystemType.BTRFS, "/"), {}, "mkfs.btrfs"),
        (part(FileSystemType.BTRFS, "/"), {"directory": False}, "loop-disk"),
        (part(FileSystemType.BTRFS, ""), {"directory": False}, "mkfs.btrfs"),
        (part(FileSystemType.EXT4), {"loop": True}, "loop-disk"),
        (part(FileSystemType.VFAT), {"loop": True}, "dibo"),
        (part(None, ""), {}, "None"),
    ],
)
def test_the_way_with_the_fewest_privileges(partition: Partition, options: dict[str, Any], way: str) -> None:
    choice = choose_way(partition, **options)
    assert str(choice) == way
    assert choice is None or choice.reason


def test_a_directory_is_wanted_only_where_a_program_reads_one(wish: DiskRequest) -> None:
    assert not needs_directory(replace(wish, layout=layout()), loop=False)
    assert not needs_directory(replace(wish, layout=layout(filesystem=FileSystemType.XFS)), loop=False)
    assert needs_directory(replace(wish, layout=layout(filesystem=FileSystemType.BTRFS)), loop=False)
    ext3 = replace(wish, filesystem="ext3")
    assert needs_directory(ext3, loop=False)
    assert not needs_directory(ext3, loop=True)
    assert not needs_directory(replace(ext3, converters=(converter("tar", takes=Takes.ROOT),)), loop=False)


def test_where_nothing_but_a_loop_device_will_do_that_is_said_or_refused(wish: DiskRequest) -> None:
    stream = io.StringIO()
    report = Report(stream)
    assert decide_loop(replace(wish, layout=layout()), directory=False, report=report) is False
    xfs = replace(wish, layout=layout(filesystem=FileSystemType.XFS))
    try:
        assert decide_loop(xfs, directory=True, report=report)
    except LoopError as error:
        stream.write(f"{error.message}\n")
    assert len(stream.getvalue().splitlines()) == 1
    assert "root: without root, mkfs.xfs fills a file system from a list" in stream.getvalue()


@pytest.mark.parametrize("kind", ["ext3", "ext2"])
def test_what_is_made_from_a_directory_is_refused_where_there_is_none(wish: DiskRequest, kind: str) -> None:
    report = Report(io.StringIO())
    for bare in (None, layout()):
        old = replace(wish, layout=bare, filesystem=kind)
        assert decide_loop(old, directory=True, report=report) is False
        with pytest.raises(LayoutError, match=f"{kind} is made from a directory"):
            decide_loop(old, directory=False, report=report)


@pytest.mark.parametrize(
    ("filesystem", "root", "refused"),
    [
        ("ext4", FileSystemType.EXT4, None),
        ("ext3", FileSystemType.EXT4, None),
        ("xfs", FileSystemType.XFS, None),
        ("xfs", FileSystemType.EXT4, "--fs-type is xfs, and the layout makes the partition root ext4"),
        ("btrfs", FileSystemType.EXT4, "makes the partition root ext4"),
        ("ext3", FileSystemType.XFS, "makes the partition root xfs"),
        ("ext4", FileSystemType.BTRFS, "makes the partition root btrfs"),
    ],
)
def test_a_root_file_system_that_contradicts_the_layout(
    filesystem: str, root: FileSystemType, refused: str | None
) -> None:
    disk = layout(filesystem=root)
    check_filesystem(None, filesystem, set_by="--fs-type")
    check_filesystem(disk, filesystem, set_by=None)
    if refused is None:
        check_filesystem(disk, filesystem, set_by="--fs-type")
        return
    with pytest.raises(LayoutError, match=refused):
        check_filesystem(disk, filesystem, set_by="--fs-type")


def test_a_root_file_system_that_nobody_knows() -> None:
    for disk in (None, layout()):
        with pytest.raises(LayoutError, match="cannot make the file system 'zfs'"):
            check_filesystem(disk, "zfs", set_by="FS_TYPE")


def test_a_name_that_is_not_utf_8(wish: DiskRequest) -> None:
    with pytest.raises(UsageError, match="is not UTF-8"):
        check_request(replace(wish, output=wish.output.with_name("\udcff")))


def test_a_converter_without_a_command_that_dibo_does_not_know(wish: DiskRequest) -> None:
    unknown = Converter(type="img", path=Path("/nowhere/img"), summary="", takes=Takes.DISK)
    with pytest.raises(ConverterError, match="the converter img has no command") as caught:
        check_request(replace(wish, converters=(unknown,)))
    assert "/nowhere/img/converter.yaml" in caught.value.hint


def test_options_for_mkfs_make_an_ext4_root_by_mke2fs(wish: DiskRequest) -> None:
    need("mke2fs")
    asked = replace(wish, layout=layout(), mkfs_options=("-i", "16384"))
    assert asked.layout is not None
    check_request(asked)
    root, other = asked.layout.root, part(FileSystemType.EXT4)
    assert str(choice_of(root, asked.layout, asked)) == "mke2fs"
    assert str(choice_of(other, asked.layout, asked)) == "dibo"
    assert needs_directory(asked, loop=False)
    assert needs_directory(replace(asked, layout=None), loop=False)
    with pytest.raises(LayoutError, match="with options for mkfs is made from a directory"):
        decide_loop(asked, directory=False, report=Report())
    with pytest.raises(LayoutError, match="options for mkfs are for an ext4, ext3 or ext2 root"):
        check_request(replace(asked, layout=layout(filesystem=FileSystemType.BTRFS)))

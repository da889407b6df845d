"""Block-device files, with those of diskimage-builder's own tests, and what these tests expect, as an oracle."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path, PurePosixPath
from uuid import UUID

import pytest

from dibo.elements.block_devices.choose import choose_device_text
from dibo.elements.block_devices.devices import check_devices
from dibo.elements.block_devices.graph import DeviceNode, parse_nodes
from dibo.elements.block_devices.model import BlockDevices, RootOptions
from dibo.elements.block_devices.sizes import parse_share, parse_size
from dibo.elements.block_devices.to_layout import DeviceLayout, to_layout
from dibo.errors import LayoutError
from dibo.layout.merge import document, parse_layout
from dibo.layout.model import FileSystemType, Flag, Layout, PartitionContent, PartitionType, Sizing, TableType
from dibo.layout.placement import place
from dibo.units import GIB, MIB
from tests.support import dib
from tests.support.dib import needs_wheel

NO_OPTIONS = RootOptions()


def devices(text: str, root: RootOptions = NO_OPTIONS, **environment: str) -> BlockDevices:
    nodes = parse_nodes(text, origin="file")
    return check_devices(nodes, origin="file", root=root, environment=environment)


def of_wheel(name: str) -> str:
    return (dib.package() / "block_device/tests/config" / f"{name}.yaml").read_text()


def of_element(name: str, file: str = "block-device-default.yaml") -> str:
    return (dib.elements() / name / file).read_text()


def layout(text: str, *, size: int | None = None, bootable: bool = True, **environment: str) -> Layout:
    converted = to_layout(devices(text, RootOptions(), **environment), size=size, bootable=bootable)
    assert converted.layout is not None
    assert parse_layout(document(converted.layout), origin="again") == converted.layout
    return converted.layout


def by_name(nodes: Sequence[DeviceNode]) -> list[DeviceNode]:
    return sorted(nodes, key=lambda node: node.name)


TREE = """
- local_loop: {name: image0}
- partitioning:
    base: image0
    label: gpt
    partitions:
      - name: ESP
        type: EF00
        size: 550MiB
        mkfs: {type: vfat, mount: {mount_point: /boot/efi, fstab: {options: "defaults,umask=0077"}}}
      - {name: BSP, type: EF02, size: 8MiB}
      - name: root
        flags: [boot]
        size: 100%
        mkfs: {type: ext4, mount: {mount_point: /, fstab: {fsck-passno: 1}}}
"""


@needs_wheel
@pytest.mark.parametrize("name", ["simple", "deep", "multiple_partitions"])
def test_trees_and_graphs_are_the_same(name: str) -> None:
    tree = parse_nodes(of_wheel(f"{name}_tree"), origin="tree")
    assert by_name(tree) == by_name(parse_nodes(of_wheel(f"{name}_graph"), origin="graph"))
    assert len(tree) > 1


@needs_wheel
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad_plugin", "there is no plugin 'this_is_not_a_plugin_name'"),
        ("multi_key_node", "expected one plugin with its keys, got the keys mkfs, mount"),
        ("bad_edge_graph", "mkfs_root: nothing is called this_is_not_a_node"),
        ("duplicate_name", "the name this_is_a_duplicate is already used"),
        ("duplicate_fs_labels", "the label duplicate is already used by mkfs_root"),
        ("too_long_fs_label", "has 39 characters; xfs allows 12"),
        *((f"lvm_{name}", "logical volumes need the device mapper") for name in ("graph", "tree")),
        *(
            (f"lvm_tree_{name}", "logical volumes need the device mapper")
            for name in ("multiple_partitions", "multiple_pv", "multiple_pv_vg", "partition_ordering")
        ),
        *((f"lvm_tree_{name}", "logical volumes need") for name in ("spanned_vg", "thin_provision")),
        ("rollback", "there is no plugin 'test_a'"),
    ],
)
def test_files_that_are_refused(name: str, message: str) -> None:
    with pytest.raises(LayoutError) as caught:
        devices(of_wheel(name))
    assert message in caught.value.message
    assert caught.value.hint or "base" in message or "plugin" in message or "called" in message


@needs_wheel
def test_the_order_of_a_deep_graph() -> None:
    assert devices(of_wheel("deep_graph")).order == (
        *("image0", "root", "mkfs_root", "mount_mkfs_root", "fstab_mount_mkfs_root"),
    )


@needs_wheel
def test_several_partitions() -> None:
    found = devices(of_wheel("multiple_partitions_graph"))
    order = [found.order.index(name) for name in ("root", "var", "var_log", "swap")]
    assert order == sorted(order)
    for name in ("root", "var", "var_log"):
        assert found.order.index(name) < found.order.index(f"mkfs_{name}")
    assert [mount.path for mount in found.mounts] == ["/", "/var", "/var/log", "none"]
    assert [(one.type, one.label) for one in found.filesystems] == [
        ("xfs", "img-rootfs"),  # mkfs_root: the command's label, whose default is shorter for xfs
        ("xfs", "mkfs_var"),
        ("vfat", "VARLOG"),
        ("swap", "mkfs_swap"),
    ]
    assert found.fstab() == (
        "LABEL=img-rootfs / xfs defaults 0 1\n"
        "LABEL=mkfs_var /var xfs defaults 0 1\n"
        "LABEL=VARLOG /var/log vfat defaults 0 1\n"
        "LABEL=mkfs_swap none swap sw 0 0\n"
    )
    assert found.variables() == {
        "DIB_ROOT_LABEL": "img-rootfs",
        "DIB_ROOT_FSTYPE": "xfs",
        "DIB_BOOT_LABEL": "",
        "DIB_MOUNTPOINTS": "/|/var|/var/log|none",
    }
    disk = to_layout(found, size=10 * GIB, bootable=True)
    assert disk.layout is not None
    free, sizes = 10 * GIB - MIB, []
    for share in (54, 40, 5, 1):
        sizes.append(free * share // 100 // MIB * MIB)
        free -= sizes[-1]
    assert [partition.size for partition in disk.layout.partitions] == sizes
    assert (
        disk.notes[-1] == "file: partitions have the numbers 1, 2, 3, 4 here, 1, 5, 6, 7 in diskimage-builder"
    )
    with pytest.raises(LayoutError, match="54% is of a disk whose size is not known"):
        to_layout(found, size=None, bootable=True)


@needs_wheel
def test_sizes_of_a_gpt() -> None:
    """The arguments of sgdisk that its tests expect on a disk of 1 GiB: 8M, 8M, 1006M."""
    found = layout(of_wheel("gpt_efi"), size=GIB)
    placement = place(found, size=GIB, identity="x", architecture="amd64", fitting={})
    sizes = {part.wish.name: part.size / MIB for part in placement.partitions}
    assert (sizes["esp"], sizes["bsp"]) == (8, 8)
    assert 1006 <= sizes["root-part"] < 1008
    assert [partition.type for partition in found.partitions] == [
        PartitionType.ESP,
        PartitionType.BIOS_BOOT,
        PartitionType.LINUX,
    ]


@needs_wheel
@pytest.mark.parametrize(
    ("element", "summary"),
    [
        ("block-device-mbr", ["root 0x83 rest ext4 / bootable"]),
        (
            "block-device-gpt",
            ["bsp bios-boot 8MiB grub-core", "root linux rest ext4 / bootable"],
        ),
        (
            "block-device-efi",
            ["esp esp 550MiB vfat /boot/efi esp", "bsp bios-boot 8MiB grub-core", "root linux rest ext4 /"],
        ),
        (
            "block-device-efi-4k",
            [
                "esp esp 500MiB vfat /boot/efi esp",
                "bsp 21686148-6449-6e6f-744e-656564454649 8MiB",
                "root linux rest ext4 /",
            ],
        ),
    ],
)
def test_layouts_of_all_elements(element: str, summary: list[str]) -> None:
    found = document(layout(of_element(element)))
    assert found.get("sector", 512) == (4096 if element.endswith("4k") else 512)
    partitions = found["partitions"]
    assert isinstance(partitions, list)
    keys = ("name", "type", "size", "filesystem", "mount", "content")
    assert [
        " ".join([*(str(partition[key]) for key in keys if key in partition), *partition.get("flags", [])])
        for partition in partitions
    ] == summary


@needs_wheel
def test_elements_for_power_and_lvm() -> None:
    boot, _ = layout(of_element("block-device-gpt", "block-device-ppc64el.yaml")).partitions
    assert boot.type == UUID("9e1a2d38-c612-4316-aa26-8b49521e5a8b")
    boot, _ = layout(of_element("block-device-mbr", "block-device-ppc64el.yaml")).partitions
    assert (boot.type, boot.flags) == (0x41, frozenset({Flag.BOOTABLE}))
    with pytest.raises(LayoutError, match="logical volumes") as caught:
        devices(of_element("block-device-efi-lvm"))
    assert "--loop" in caught.value.hint


def test_a_tree_becomes_a_layout() -> None:
    found = layout(TREE)
    esp, bsp, root = found.partitions
    assert (found.table, found.size, found.sector) == (TableType.GPT, Sizing.FIT, 512)
    assert (esp.mount, esp.label, esp.options) == (PurePosixPath("/boot/efi"), "MKFS_ESP", ("umask=0077",))
    assert (esp.content, bsp.content) == (PartitionContent.ESP, PartitionContent.GRUB_CORE)
    assert (root.size, root.label, root.flags) == (Sizing.REST, "cloudimg-rootfs", frozenset({Flag.BOOTABLE}))
    without = layout(TREE, bootable=False)
    assert [partition.content for partition in without.partitions] == [None, None, None]
    assert devices(TREE).fstab() == (
        "LABEL=cloudimg-rootfs / ext4 defaults 0 1\nLABEL=MKFS_ESP /boot/efi vfat defaults,umask=0077 0 2\n"
    )


def test_options_of_the_command_where_the_file_is_silent() -> None:
    text = TREE.replace("{type: ext4, mount", "{mount")
    root = devices(text, RootOptions(filesystem="xfs", mkfs_options="-i 4096")).root
    assert (root.type, root.label, root.options) == ("xfs", "img-rootfs", "-i 4096")
    assert devices(text, RootOptions(filesystem="ext3", label="mine")).root.label == "mine"
    older = to_layout(devices(text, RootOptions(filesystem="ext3")), size=None, bootable=True)
    assert older.layout is not None and older.root_filesystem == "ext3"
    assert older.layout.root.filesystem is FileSystemType.EXT4
    assert devices(TREE, RootOptions(filesystem="xfs")).root.type == "ext4"
    with pytest.raises(LayoutError, match="allows 16"):
        devices(TREE, RootOptions(label="a-label-that-is-too-long"))


def test_without_a_description_the_disk_is_one_file_system() -> None:
    chosen = choose_device_text((), architecture="amd64", environment={})
    found = devices(chosen.text)
    converted = to_layout(found, size=None, bootable=True)
    assert converted == DeviceLayout(
        layout=None, root_filesystem="ext4", root_label="cloudimg-rootfs", notes=()
    )
    assert found.fstab() == "LABEL=cloudimg-rootfs / ext4 defaults 0 1\n"


def test_what_has_no_effect_is_noted() -> None:
    text = (
        TREE.replace("{name: image0}", "{name: image0, directory: /x, size: 4GiB, block_size: 512}")
        .replace("{type: ext4,", "{type: ext4, uuid: 1234, opts: -m 0, labl: x,")
        .replace(", fstab: {fsck-passno: 1}", "")
    )
    converted = to_layout(devices(text), size=GIB, bootable=False)
    assert converted.layout is not None and converted.layout.size == 4 * GIB
    notes = "\n".join(converted.notes)
    for words in (
        "key directory",
        "uuid has no",
        "options -m 0",
        "labl has no effect; did you",
        "line in fstab",
    ):
        assert words in notes
    assert len(converted.notes) == 5


def test_sectors() -> None:
    text = TREE.replace("{name: image0}", "{name: image0, block_size: 4096}")
    assert layout(text).sector == 4096
    assert layout(text, DIB_BLOCK_SIZE="512").sector == 512
    assert layout(TREE, DIB_BLOCK_SIZE="4096").sector == 4096
    with pytest.raises(LayoutError, match="expected 512 or 4096, got '1024'"):
        devices(TREE, DIB_BLOCK_SIZE="1024")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: image0}", "name: image1}", "no local_loop is called image0"),
        ("name: image0}", "name: image0}\n- local_loop: {name: data}", "one disk, and this describes 2"),
        ("label: gpt", "label: msdos", "expected mbr or gpt, got 'msdos'"),
        ("    label: gpt\n", "", "the key label is missing"),
        ("[boot]", "[boot, primary]", "a GPT has no primary partitions"),
        ("[boot]", "[lba]", "expected boot or primary, got 'lba'"),
        ("size: 8MiB", "x: 1", "the key size is missing"),
        ("size: 8MiB", "size: 8Mb", "unknown unit 'Mb'"),
        ("size: 8MiB", "size: 120%", "expected a share of 0% to 100%"),
        ("size: 8MiB", "size: a lot", "expected a size"),
        ("type: ext4, ", "", ""),
        ("{type: vfat, ", "{", "the key type is missing"),
        ("mount_point: /boot/efi", "mount_point: /", "/ is mounted twice"),
        ("mount_point: /,", "mount_point: /srv,", "nothing is mounted at /"),
        ("mount_point: /boot/efi,", "", "the key mount_point is missing"),
        ("fsck-passno: 1", "fsck-passno: 9", "expected 0, 1 or 2"),
        ("base: image0", "base: image9", "nothing is called image9"),
        ("base: image0", "", "the key name is missing"),
        ("name: BSP", "name: root", "the name root is already used"),
        ("name: BSP, ", "", "the key name is missing"),
        ("- local_loop: {name: image0}", "- local_loop: image0", "expected a mapping, got 'image0'"),
        ("- local_loop: {name: image0}", "- mkfs", "expected one plugin with its keys, got 'mkfs'"),
        ("- local_loop:", "- locl_loop:", "there is no plugin 'locl_loop'; did you mean 'local_loop'"),
    ],
)
def test_mistakes(old: str, new: str, message: str) -> None:
    text = TREE.replace(old, new, 1)
    assert text != TREE
    if not message:
        assert devices(text).root.type == "ext4"
        return
    with pytest.raises(LayoutError) as caught:
        devices(text)
    assert message in caught.value.message and caught.value.message.startswith("file: ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("type: EF02", "type: 1234", "the code 1234 is not known here"),
        ("type: ext4", "type: jfs", "dibo does not make jfs"),
        ("base: image0", "base: image0\n    align: 3MiB", "expected a power of two"),
        ("size: 8MiB", "size: 900MiB", ""),
        ("size: 8MiB", "size: 4GiB", "does not fit: 472 MiB are free"),
        ("size: 8MiB", "size: 100%", "does not fit: 0 MiB are free"),
    ],
)
def test_what_no_layout_has(old: str, new: str, message: str) -> None:
    text = TREE.replace(old, new, 1)
    size = 2 * GIB if not message else GIB
    if not message:
        assert to_layout(devices(text), size=size, bootable=True).layout is not None
        return
    with pytest.raises(LayoutError) as caught:
        to_layout(devices(text), size=size, bootable=True)
    assert message in caught.value.message
    assert caught.value.message.startswith("file: ")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("8MiB", 8 * MIB), ("1.5GiB", 3 * GIB // 2), ("4G", 4_000_000_000), ("100M", 100_000_000)),
        *(("2 TB", 2_000_000_000_000), ("1KiB", 1024), ("512", 512), ("7B", 7), ("GiB", GIB), (4096, 4096)),
    ],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text, "x") == size
    assert parse_share("12.5%", "x") == Decimal("12.5")


def test_which_description_counts(tmp_path: Path) -> None:
    for element, files in {
        "none": [],
        "first": ["block-device-default.yaml", "block-device-ppc64el.yaml"],
        "second": ["block-device-amd64.yaml", "block-device-default.yaml"],
    }.items():
        (tmp_path / element).mkdir()
        for file in files:
            (tmp_path / element / file).write_text(f"{element}/{file}")

    def text(*names: str, architecture: str = "amd64", config: str = "") -> str:
        elements = [(name, tmp_path / name) for name in names]
        environment = {"DIB_BLOCK_DEVICE_CONFIG": config} if config else {}
        return choose_device_text(elements, architecture=architecture, environment=environment).text

    assert text("none", "first", "second") == "first/block-device-default.yaml"
    assert text("second", "first") == "second/block-device-amd64.yaml"
    assert text("second", architecture="arm64") == "second/block-device-default.yaml"
    assert text("first", architecture="ppc64le") == "first/block-device-ppc64el.yaml"
    assert text("first", config="- local_loop: {}") == "- local_loop: {}"
    assert (
        text(config=f"file://{tmp_path}/second/block-device-amd64.yaml") == "second/block-device-amd64.yaml"
    )
    with pytest.raises(LayoutError, match="cannot read the description of the disk"):
        text(config=f"file://{tmp_path}/missing")
    chosen = choose_device_text(
        [("first", tmp_path / "first"), ("second", tmp_path / "second")], architecture="amd64", environment={}
    )
    assert chosen.passed_over == (str(tmp_path / "second/block-device-amd64.yaml"),)

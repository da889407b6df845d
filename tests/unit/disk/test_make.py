"""Disks with several file systems: each file is on the right one, whatever layers it came by, and tools agree."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from dibo.artefacts.converter import Converter, Takes
from dibo.build.engine import Root, Setup
from dibo.disk.make import make_disks, plan_disk
from dibo.disk.plan import DiskSource, DiskTargets
from dibo.disk.request import DiskRequest, check_request
from dibo.errors import ImageTooSmall, LayoutError, OutputError
from dibo.formats.ext4.reader import Ext
from dibo.formats.filesystem import find, names_in
from dibo.formats.source import Window
from dibo.images.image import Layer
from dibo.images.layers.load import Tree
from dibo.images.layers.spool import Spool
from dibo.layout.merge import parse_layout
from dibo.layout.model import Headroom
from dibo.layout.placement import Placement, place
from dibo.system import process
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from dibo.tree.node import Node
from dibo.tree.query import find as find_node
from dibo.units import GIB, MIB
from tests.support.images.tar_layers import directory, file, hardlink, layer, symlink
from tests.support.readers.ext4_check import Checker
from tests.support.requirements import need
from tests.unit.disk.sample_requests import output_of
from tests.unit.formats.fat.fat_reader import Volume, read_fat

pytestmark = pytest.mark.slow

LAYOUT = """
table: gpt
partitions:
  - {name: boot, type: xbootldr, size: 16MiB, filesystem: ext4, label: boot, mount: /boot}
  - {name: firmware, type: basic-data, size: 8MiB, filesystem: vfat, label: FIRMWARE, mount: /boot/firmware}
  - {name: state, type: linux, size: 8MiB, filesystem: ext4, label: state, mount: /srv/state}
  - {name: swap, type: swap, size: 8MiB, filesystem: swap, label: swap}
  - {name: var, type: linux-var, size: 16MiB, filesystem: ext4, mount: /var, options: [noatime, nodev]}
  - {name: root, type: linux-root, size: rest, filesystem: ext4, label: r, mount: /}
"""
EPOCH = 1_700_000_000
IDENTITY = "sha256:disks"
BIG = bytes(range(256)) * 2000
LAYERS: tuple[Layer, ...] = (
    layer(
        directory(b"boot", 0o700),
        directory(b"etc"),
        file(
            b"etc/fstab",
            b"# by hand\ntmpfs /tmp tmpfs defaults 0 0\n/dev/sda1 / ext3 x 0 1\n/dev/sda2 /boot ext2 x 0 1\n",
        ),
        file(b"boot/vmlinuz-1", b"hidden by a later one"),
        file(b"boot/config", b"c" * 5000),
        directory(b"boot/firmware"),
        file(b"boot/firmware/START.ELF", BIG * 3),
        directory(b"data"),
        symlink(b"kernels", b"boot"),
        file(b"var/lib/db", b"below"),
        file(b"usr/share/doc", b"d" * 100),
        file(b"data/one", b"of two names" * 1000),
        hardlink(b"data/other", b"data/one"),
        hardlink(b"var/lib/one", b"data/one"),
        hardlink(b"boot/one", b"data/one"),
    ),
    layer(
        # Parents that are symlinks of a lower layer: nobody knows while the bytes stream by.
        file(b"kernels/vmlinuz-1", b"the kernel" * 3000),
        file(b"boot/initrd.img-1", BIG * 3),
        file(b"boot/firmware/config.txt", b"arm_64bit=1\n"),
        file(b"var/lib/db", b"above"),
        compression="zstd",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A disk, and where things are on it."""

    path: Path
    placement: Placement
    said: str
    tree: Node

    def ext4(self, name: str) -> Ext:
        part = self.placement.named(name)
        return Ext(Window(_File(self.path), part.offset, part.size))

    def check(self, name: str) -> None:
        """By the reader of the tests and by e2fsck."""
        part = self.placement.named(name)
        with self.path.open("rb") as disk:
            Checker(lambda offset, size: _read(disk, offset, size), part.offset).check()
        need("e2fsck")
        argv = [str(process.find("e2fsck")), "-fn", f"{self.path}?offset={part.offset}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout

    def names(self, name: str, path: str) -> set[bytes]:
        return set(names_in(self.ext4(name), path)) - {b".", b".."}

    def text(self, name: str, path: str) -> str:
        return self.data(name, path).decode()

    def data(self, name: str, path: str) -> bytes:
        system = self.ext4(name)
        entry = find(system, path)
        assert entry is not None, path
        return b"".join(system.content(entry))

    def fat(self, name: str) -> Volume:
        with self.path.open("rb") as disk:
            return read_fat(disk, self.placement.named(name).offset)


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size

    def read(self, offset: int, size: int) -> bytes:
        with self._path.open("rb") as disk:
            return _read(disk, offset, size)


def _read(disk: io.BufferedReader, offset: int, size: int) -> bytes:
    disk.seek(offset)
    return disk.read(size)


def request_of(output: Path, text: str, *, size: int, filesystem: str = "ext4") -> DiskRequest:
    return DiskRequest(
        output=output,
        converters=(Converter(type="raw", path=Path(), summary="", takes=Takes.DISK),),
        layout=parse_layout(yaml.safe_load(text), origin="test"),
        filesystem=filesystem,
        size=size,
        size_set_by="--image-size",
        architecture="amd64",
        options={},
    )


def write_disk(
    root: Root, request: DiskRequest, path: Path, setup: Setup, spool: Spool | None = None
) -> Tree:
    """The disk at `path`, and the tree that was read for it."""
    source = DiskSource(root=root, identity=IDENTITY, epoch=EPOCH, manifest=None)
    plan = plan_disk(request, source, setup)
    return make_disks(plan, DiskTargets(disks={"raw": path}, others=spool), setup)


def make(
    tmp_path: Path,
    text: str = LAYOUT,
    *,
    layers: Sequence[Layer] = LAYERS,
    size: int = 128 * MIB,
    built: bool = True,
    spool: Spool | None = None,
    given: bool = True,
) -> Made:
    request = replace(request_of(tmp_path / "disk", text, size=size), layout_given=given)
    check_request(request)
    stream = io.StringIO()
    path = tmp_path / "disk.raw"
    with Workspace(tmp_path / "cache").run() as run:
        root = Root(name="made up", layers=tuple(layers), built=built)
        tree = write_disk(root, request, path, Setup(run=run, report=Report(stream)), spool)
    assert request.layout is not None
    table = json.loads(output_of("sfdisk", "--json", path))["partitiontable"]["partitions"]
    fitting = {
        wish.name: each["size"] * 512 for wish, each in zip(request.layout.partitions, table, strict=True)
    }
    placement = place(
        request.layout,
        size=path.stat().st_size,
        identity=IDENTITY,
        architecture="amd64",
        fitting=fitting,
    )
    assert [(each.first_lba, each.sectors) for each in placement.partitions] == [
        (each["start"], each["size"]) for each in table
    ]
    return Made(path=path, placement=placement, said=stream.getvalue(), tree=tree.root)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    yield make(tmp_path_factory.mktemp("disk"))


def test_every_file_is_on_its_file_system_alone(made: Made) -> None:
    assert made.names("boot", "/") == {
        b"vmlinuz-1",
        b"config",
        b"one",
        b"initrd.img-1",
        b"firmware",
        b"lost+found",
    }
    assert made.names("boot", "/firmware") == set()
    assert made.names("var", "/lib") == {b"db", b"one"}
    assert made.names("state", "/") == {b"lost+found"}
    for mount in ("/boot", "/var", "/srv/state"):
        assert made.names("root", mount) == set()
    assert made.names("root", "/data") == {b"one", b"other"}
    assert made.fat("firmware").files == {"START.ELF": BIG * 3, "config.txt": b"arm_64bit=1\n"}


def test_contents_are_those_of_the_highest_layer(made: Made) -> None:
    assert made.text("boot", "/vmlinuz-1") == "the kernel" * 3000
    assert made.text("var", "/lib/db") == "above"
    assert made.text("boot", "/config") == "c" * 5000


def test_a_hard_link_over_two_file_systems_becomes_a_copy_and_that_is_said(made: Made) -> None:
    for name, path in (("root", "/data/one"), ("root", "/data/other"), ("var", "/lib/one"), ("boot", "/one")):
        assert made.text(name, path) == "of two names" * 1000
    assert "2 files have names on two file systems: each got a copy" in made.said
    system = made.ext4("root")
    one, other = find(system, "/data/one"), find(system, "/data/other")
    assert one is not None
    assert other is not None
    assert one == other  # still one inode there


@pytest.mark.parametrize("name", ["boot", "state", "var", "root"])
def test_file_systems_are_sound(made: Made, name: str) -> None:
    made.check(name)


def test_the_table_is_sound(made: Made) -> None:
    assert "No errors detected" in output_of("sfdisk", "--verify", made.path)
    assert "No problems found" in output_of("sgdisk", "--verify", made.path)


def test_a_mount_point_has_the_mode_of_what_is_mounted(made: Made) -> None:
    for name, path in (("root", "/boot"), ("boot", "/")):
        system = made.ext4(name)
        entry = find(system, path)
        assert entry is not None
    dump = output_of("debugfs", "-R", "stat /boot", f"{made.path}?offset={made.placement.root.offset}")
    assert "Mode:  0700" in dump


def test_fstab_is_that_of_the_disk_and_keeps_what_is_not_its_business(made: Made) -> None:
    var = made.placement.named("var").ids.filesystem_uuid
    assert made.text("root", "/etc/fstab").splitlines() == [
        "# by hand",
        "tmpfs /tmp tmpfs defaults 0 0",
        "LABEL=r / ext4 defaults 0 1",
        "LABEL=boot /boot ext4 defaults 0 2",
        f"UUID={var} /var ext4 noatime,nodev 0 2",
        "LABEL=FIRMWARE /boot/firmware vfat defaults 0 2",
        "LABEL=state /srv/state ext4 defaults 0 2",
        "LABEL=swap none swap sw 0 0",
    ]


def test_blkid_finds_swap_and_vfat_as_fstab_names_them(made: Made, tmp_path: Path) -> None:
    swap = made.placement.named("swap")
    said = output_of("blkid", "-p", "-O", swap.offset, "-S", swap.size, "-o", "export", made.path)
    assert {"TYPE=swap", "VERSION=1", "LABEL=swap", f"UUID={swap.ids.filesystem_uuid}"} <= set(
        said.split("\n")
    )
    firmware = made.placement.named("firmware")
    said = output_of("blkid", "-p", "-O", firmware.offset, "-S", firmware.size, "-o", "export", made.path)
    assert {"TYPE=vfat", "LABEL=FIRMWARE"} <= set(said.split("\n"))
    alone = tmp_path / "swap"
    with made.path.open("rb") as disk:
        alone.write_bytes(_read(disk, swap.offset, swap.size))
    assert "swap" in output_of("swaplabel", alone)
    made_by_mkswap = tmp_path / "other"
    made_by_mkswap.write_bytes(bytes(swap.size))
    output_of("mkswap", "-L", "swap", "-U", swap.ids.filesystem_uuid, made_by_mkswap)
    assert made_by_mkswap.read_bytes() == alone.read_bytes()


def test_the_tree_is_whole_again_afterwards(made: Made) -> None:
    """What takes a tar gets the root as it was: with its own fstab, and nothing cut out of it."""
    kernel, table = find_node(made.tree, "/boot/vmlinuz-1"), find_node(made.tree, "/etc/fstab")
    assert kernel is not None
    assert table is not None
    assert kernel.size == 30_000
    assert (table.data or b"").startswith(b"# by hand")
    assert find_node(made.tree, "/srv") is None


def test_a_tar_beside_it_has_all_bytes(tmp_path: Path) -> None:
    with (tmp_path / "spool").open("w+b") as stream:
        spool = Spool(stream)
        made = make(tmp_path, spool=spool)
        kernel = find_node(made.tree, "/boot/vmlinuz-1")
        copy = find_node(made.tree, "/boot/one")
        assert kernel is not None
        assert copy is not None
        assert b"".join(spool.read(kernel.content)) == b"the kernel" * 3000
        assert b"".join(spool.read(copy.content)) == b"of two names" * 1000
    assert made.text("boot", "/vmlinuz-1") == "the kernel" * 3000


def test_the_same_bytes_twice(made: Made, tmp_path: Path) -> None:
    assert make(tmp_path).path.read_bytes() == made.path.read_bytes()


# Sizes that fit

FIT = LAYOUT.replace("table: gpt", "table: gpt\nsize: fit")
for _size in ("16MiB", "8MiB, filesystem: vfat"):
    FIT = FIT.replace(f"size: {_size}", f"size: {_size.replace(_size.split(',')[0], 'fit, headroom: 0%')}")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Made:
    text = FIT.replace("size: rest", "size: rest, headroom: 3MiB")
    return make(tmp_path_factory.mktemp("fitted"), text, size=GIB)


def test_a_disk_as_small_as_fits(fitted: Made) -> None:
    assert fitted.path.stat().st_size < 40 * MIB
    for name in ("boot", "var", "state", "root"):
        fitted.check(name)
    assert fitted.fat("firmware").files["START.ELF"] == BIG * 3
    assert fitted.data("boot", "/initrd.img-1") == BIG * 3
    last = fitted.placement.partitions[-1]
    assert fitted.path.stat().st_size - (last.offset + last.size) <= MIB


@pytest.mark.parametrize("name", ["boot", "firmware"])
def test_one_mib_less_would_not_do(fitted: Made, tmp_path: Path, name: str) -> None:
    size = fitted.placement.named(name).size
    text = yaml.safe_load(LAYOUT)
    for each in text["partitions"]:
        if each["name"] == name:
            each["size"] = f"{size // MIB - 1}MiB"
    with pytest.raises(LayoutError, match="missing"):
        make(tmp_path, yaml.safe_dump(text))


def test_headroom_is_free(fitted: Made) -> None:
    root = fitted.placement.root
    dump = output_of("dumpe2fs", "-h", f"{fitted.path}?offset={root.offset}")
    free = next(int(line.split()[-1]) for line in dump.splitlines() if line.startswith("Free blocks:"))
    assert 3 * MIB <= free * 4096 < 5 * MIB


# What cannot be


def test_what_does_not_fit_names_its_partition(tmp_path: Path) -> None:
    with pytest.raises(
        ImageTooSmall, match=r"belongs to /boot does not fit the partition boot of 1 MiB"
    ) as caught:
        make(
            tmp_path,
            LAYOUT.replace("16MiB, filesystem: ext4, label: boot", "1MiB, filesystem: ext4, label: boot"),
        )
    assert "size: fit" in caught.value.hint


def test_a_symlink_where_something_is_to_be_mounted(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="nothing can be mounted at /kernels: /kernels is a symlink"):
        make(tmp_path, LAYOUT.replace("mount: /var", "mount: /kernels"))


def test_what_a_fat_cannot_hold(tmp_path: Path) -> None:
    more = layer(symlink(b"boot/firmware/link", b"START.ELF"))
    with pytest.raises(OutputError, match=r"FAT cannot hold 'link': it is a symlink"):
        make(tmp_path, layers=(*LAYERS, more))


@pytest.mark.parametrize(("given", "kept"), [(True, False), (False, True)])
def test_a_foreign_root_keeps_its_fstab_unless_somebody_laid_out_its_disk(
    tmp_path: Path, given: bool, kept: bool
) -> None:
    text = make(tmp_path, built=False, given=given).text("root", "/etc/fstab")
    assert ("/dev/sda1 / ext3" in text) == kept
    assert ("LABEL=boot /boot" in text) != kept


def test_a_file_system_without_partitions_as_small_as_fits(tmp_path: Path) -> None:
    asked = replace(
        request_of(tmp_path / "bare", LAYOUT, size=GIB),
        layout=None,
        bare_label="mine",
        bare_headroom=Headroom(size=5 * MIB),
    )
    path = tmp_path / "bare.raw"
    with Workspace(tmp_path / "cache").run() as run:
        setup = Setup(run=run, report=Report(io.StringIO()))
        write_disk(Root(name="made up", layers=LAYERS, built=True), asked, path, setup)
    dump = output_of("dumpe2fs", "-h", path)
    found = dict(line.split(":", 1) for line in dump.splitlines() if ":" in line)
    assert found["Filesystem volume name"].strip() == "mine"
    assert 5 * MIB <= int(found["Free blocks"]) * 4096 < 8 * MIB
    assert path.stat().st_size < 32 * MIB

"""Kernels out of disks that other programs made: mke2fs, mkfs.vfat, sfdisk, qemu-img, mkfs.xfs, mkfs.btrfs."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dibo.cli import main
from dibo.errors import DiskImageError, ToolMissing
from dibo.formats.ext4.reader import Ext
from dibo.formats.filesystem import names_in
from dibo.inspect.open_image import FileSource
from dibo.inspect.volumes import volumes
from tests.support.disks.boot_disks import KERNEL, RAMDISK, read
from tests.support.requirements import need

pytestmark = pytest.mark.integration

MIB = 1 << 20
VERSION = "6.1.0-13-amd64"
LARGE = random.Random(4).randbytes(7 * MIB + 5)
"""A kernel that needs blocks of blocks of block numbers, where blocks are small."""
Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("IMG_PATH", str(tmp_path / "cache"))
    need("mke2fs")


def run(*argv: object, stdin: str | None = None) -> None:
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "MTOOLS_SKIP_CHECK": "1"}
    subprocess.run(
        [str(each) for each in argv], check=True, env=environment, input=stdin, text=True, capture_output=True
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root directory, with a boot directory that has more names than a block of a directory holds."""
    top = tmp_path / "root"
    boot(top / "boot")
    for name in ("etc", "usr/bin", "boot/grub"):
        (top / name).mkdir(parents=True)
    (top / "etc/fstab").write_text("LABEL=root / ext4 defaults 0 1\n")
    (top / "boot/grub/grub.cfg").write_text(f"\tlinux /boot/vmlinuz-{VERSION} root=LABEL=root ro quiet\n")
    for number in range(700):
        (top / f"boot/some-file-with-a-long-name-{number:04}").touch()
    return top


def boot(directory: Path) -> Path:
    directory.mkdir(parents=True)
    (directory / f"vmlinuz-{VERSION}").write_bytes(LARGE)
    (directory / f"initrd.img-{VERSION}").write_bytes(RAMDISK)
    (directory / "vmlinuz-6.1.0-9-amd64").write_bytes(KERNEL)
    (directory / "initrd.img-6.1.0-9-amd64").write_bytes(b"r")
    return directory


def file_system(path: Path, root: Path, *options: str, kind: str = "ext4", size: int = 40 * MIB) -> Path:
    path.touch()
    os.truncate(path, size)
    run("mke2fs", "-q", "-F", "-t", kind, *options, "-d", root, path)
    return path


def got(*arguments: object) -> int:
    return main.disk_image_get_kernel([str(each) for each in arguments])


def check() -> None:
    assert Path("baremetal-vmlinuz").read_bytes() == LARGE
    assert Path("baremetal-initrd").read_bytes() == RAMDISK


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ext2", ()),
        ("ext2", ("-b", "1024")),
        ("ext3", ()),
        ("ext3", ("-b", "1024", "-O", "^sparse_super,^resize_inode")),
        ("ext4", ()),
        ("ext4", ("-b", "1024", "-I", "128", "-O", "^64bit")),
        ("ext4", ("-O", "meta_bg,^resize_inode,64bit", "-b", "1024", "-g", "1024")),
        ("ext4", ("-O", "^flex_bg,^metadata_csum,^dir_index")),
        ("ext4", ("-O", "metadata_csum_seed,large_dir,project,quota")),
        ("ext4", ("-O", "sparse_super2", "-b", "2048")),
        ("ext4", ("-O", "bigalloc,extent", "-C", "16384")),
        ("ext4", ("-O", "bigalloc,extent", "-C", "16384", "-b", "1024")),
    ],
)
def test_file_systems_of_mke2fs(
    tmp_path: Path, root: Path, kind: str, options: tuple[str, ...], capsys: Out
) -> None:
    image = file_system(tmp_path / "disk.raw", root, "-L", "root", *options, kind=kind)
    assert got(image, "--cmdline") == 0
    assert capsys.readouterr().out.splitlines()[0] == "root=LABEL=root ro quiet"
    check()


def test_a_tree_that_is_deep(tmp_path: Path, root: Path) -> None:
    """A file in thousands of extents, so in two levels of them."""
    with (root / "holes").open("wb") as file:
        for number in range(3000):
            file.seek(number * 8192)
            file.write(b"%4d" % number * 256)
    image = file_system(tmp_path / "disk.raw", root, "-b", "1024", size=64 * MIB)
    system = Ext(FileSource(image))
    assert read(system, "holes") == (root / "holes").read_bytes()
    assert len(names_in(system, "boot")) == 705


def test_inline_data_is_read(tmp_path: Path, root: Path) -> None:
    image = file_system(tmp_path / "disk.raw", root, "-O", "inline_data", "-I", "256")
    system = Ext(FileSource(image))
    assert read(system, "/etc/fstab") == (root / "etc/fstab").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        ("-O", "qcow2"),
        ("-c", "-O", "qcow2"),
        ("-c", "-O", "qcow2", "-o", "compression_type=zstd"),
        ("-O", "qcow2", "-o", "compat=0.10"),
        ("-c", "-O", "qcow2", "-o", "cluster_size=512"),
        ("-c", "-O", "qcow2", "-o", "cluster_size=2M"),
        ("-O", "vmdk"),
        ("-O", "vmdk", "-o", "subformat=streamOptimized"),
        ("-O", "vhdx"),
        ("-O", "vpc"),
        ("-O", "vdi"),
    ],
    ids=" ".join,
)
def test_formats(tmp_path: Path, root: Path, options: tuple[str, ...]) -> None:
    need("qemu-img")
    raw = file_system(tmp_path / "disk.raw", root)
    run("qemu-img", "convert", "-f", "raw", *options, raw, tmp_path / "a:disk")
    raw.unlink()
    assert got(tmp_path / "a:disk") == 0
    check()
    assert not list((tmp_path / "cache/runs").iterdir())


def test_images_that_refer_to_other_files(tmp_path: Path, root: Path, capsys: Out) -> None:
    need("qemu-img")
    raw = file_system(tmp_path / "disk.raw", root)
    for kind in ("qcow2", "vmdk"):
        base, top = tmp_path / f"base.{kind}", tmp_path / f"top.{kind}"
        run("qemu-img", "convert", "-f", "raw", "-O", kind, raw, base)
        run("qemu-img", "create", "-f", kind, "-F", kind, "-b", base, top)
        assert got(top) == DiskImageError.exit_code
        assert "backing file" in (said := capsys.readouterr().err) or str(base) in said
    run(
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "vmdk",
        "-o",
        "subformat=monolithicFlat",
        raw,
        tmp_path / "f.vmdk",
    )
    assert got(tmp_path / "f.vmdk") == DiskImageError.exit_code
    run(
        "qemu-img",
        "create",
        "-f",
        "qcow2",
        "-o",
        "data_file=" + str(tmp_path / "data"),
        tmp_path / "d.qcow2",
        "1M",
    )
    assert got(tmp_path / "d.qcow2") == DiskImageError.exit_code


def partitioned(image: Path, script: str, parts: dict[int, Path], *, size: int) -> Path:
    """`parts` by their first MiB."""
    image.touch()
    os.truncate(image, size)
    run("sfdisk", "-q", image, stdin=script)
    with image.open("r+b") as disk:
        for start, part in parts.items():
            disk.seek(start * MIB)
            disk.write(part.read_bytes())
    return image


GPT = """label: gpt
start=2048, size=1MiB, type=21686148-6449-6E6F-744E-656564454649
start=3MiB, size=40MiB
start=50MiB, size=40MiB
"""
DOS = """label: dos
start=3MiB, size=40MiB, type=83, bootable
start=48MiB, size=60MiB, type=5
start=50MiB, size=40MiB, type=83
"""


@pytest.mark.parametrize("script", [GPT, DOS], ids=["gpt", "dos"])
@pytest.mark.parametrize("apart", [False, True], ids=["one", "boot-apart"])
def test_partitions(tmp_path: Path, root: Path, script: str, apart: bool, capsys: Out) -> None:
    need("sfdisk")
    if apart:
        shutil.move(root / "boot", tmp_path / "boot")
        (root / "boot").mkdir()
        first = file_system(tmp_path / "one", tmp_path / "boot", "-L", "root", kind="ext2")
    else:
        (tmp_path / "data").mkdir()
        first = file_system(tmp_path / "one", tmp_path / "data", "-L", "data")
    second = file_system(tmp_path / "two", root, "-L", "root", "-U", "6a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d")
    image = partitioned(tmp_path / "disk", script, {3: first, 50: second}, size=120 * MIB)
    assert got(image, "--cmdline") == 0
    words = capsys.readouterr().out.splitlines()[0]
    named = "UUID=6a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d" if apart else "LABEL=root"
    assert words.split()[:2] == [f"root={named}", "ro"]
    check()


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_boot_on_a_fat_of_mtools(tmp_path: Path, bits: int) -> None:
    need("mkfs.vfat", "mcopy")
    image = tmp_path / "disk"
    image.touch()
    os.truncate(image, (16 if bits == 12 else 40) * MIB)
    sectors = {12: 16, 16: 4, 32: 1}[bits]
    run("mkfs.vfat", "-F", bits, "-s", sectors, "-n", "BOOT", image)
    directory = boot(tmp_path / "files")
    entries = directory / "loader" / "entries"
    entries.mkdir(parents=True)
    (entries / "some-machine.conf").write_text(
        f"linux /vmlinuz-{VERSION}\ninitrd /initrd.img-{VERSION}\noptions root=UUID=12 ro\n"
    )
    run("mcopy", "-s", "-i", image, *sorted(directory.iterdir()), "::/")
    assert got(image) == 0
    check()
    (volume,) = volumes(FileSource(image))
    assert (volume.kind, volume.label) == ("vfat", "BOOT")


@pytest.mark.parametrize(
    ("kind", "make", "size"),
    [("xfs", ("mkfs.xfs", "-q", "-L", "data"), 320), ("btrfs", ("mkfs.btrfs", "-q", "-L", "data"), 120)],
)
def test_file_systems_that_dibo_cannot_read(
    tmp_path: Path, kind: str, make: tuple[str, ...], size: int, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their label and UUID are those that blkid sees; without guestfish, the error says where it is."""
    need(make[0])
    image = tmp_path / "disk"
    image.touch()
    os.truncate(image, size * MIB)
    run(*make, image)
    (volume,) = volumes(FileSource(image))
    said = subprocess.run(["blkid", "-o", "export", image], capture_output=True, text=True, check=True).stdout
    values = dict(line.split("=", 1) for line in said.splitlines())
    assert (volume.kind, volume.label, volume.uuid) == (values["TYPE"], values["LABEL"], values["UUID"])
    from dibo.system import process

    missing: Callable[[str], str | None] = lambda tool: None  # noqa: E731
    monkeypatch.setattr(process, "find", missing)
    assert got(image) == ToolMissing.exit_code
    assert "sudo apt-get install libguestfs-tools" in capsys.readouterr().err

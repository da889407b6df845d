"""disk-image-get-kernel, whole, on disks that dibo writes; and what it says of files that are none."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from dibo.cli import main
from dibo.errors import DiskImageError, OutputError, ToolMissing, UsageError
from dibo.formats.qcow2.writer import Qcow2
from tests.support.disks.boot_disks import FILES, KERNEL, RAMDISK, ext4, save
from tests.support.programs import fake

Out = pytest.CaptureFixture[str]
LINE = "root=LABEL=cloudimg-rootfs ro console=tty0 console=ttyS0,115200"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("IMG_PATH", str(tmp_path / "cache"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return save(tmp_path / "web.raw", ext4())


def got(*arguments: object) -> int:
    return main.disk_image_get_kernel([str(each) for each in arguments])


def test_the_newest_kernel_and_its_ramdisk(image: Path, capsys: Out) -> None:
    before = os.umask(0o077)
    try:
        assert got(image) == 0
    finally:
        os.umask(before)
    assert capsys.readouterr().out == "baremetal-vmlinuz,baremetal-initrd\n"
    for name, data in (("baremetal-vmlinuz", KERNEL), ("baremetal-initrd", RAMDISK)):
        assert Path(name).read_bytes() == data
        assert stat.S_IMODE(Path(name).stat().st_mode) & 0o444 == 0o444
    assert sorted(path.name for path in Path().iterdir()) == ["baremetal-initrd", "baremetal-vmlinuz"]


def test_as_it_always_was_called(image: Path, tmp_path: Path, capsys: Out) -> None:
    assert got("-i", image, "-d", tmp_path, "-o", "blah") == 0
    assert capsys.readouterr().out == f"{tmp_path}/blah-vmlinuz,{tmp_path}/blah-initrd\n"
    assert (tmp_path / "blah-vmlinuz").read_bytes() == KERNEL


def test_the_command_line_comes_before_the_last_line(image: Path, capsys: Out) -> None:
    assert got(image, "--cmdline") == 0
    assert capsys.readouterr().out.splitlines() == [LINE, "baremetal-vmlinuz,baremetal-initrd"]


def test_the_list(image: Path, capsys: Out) -> None:
    assert got(image, "--list") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("6.1.0-13-amd64  the disk, ext4: /boot/vmlinuz-6.1.0-13-amd64 (293 KiB)")
    assert second.startswith("6.1.0-9-amd64 ")
    assert list(Path().iterdir()) == []


def test_a_kernel_by_version(image: Path) -> None:
    assert got(image, "--kernel", "6.1.0-9-amd64") == 0
    assert Path("baremetal-initrd").read_bytes() == b"older ramdisk"
    assert got(image, "--kernel", "5") == DiskImageError.exit_code


def test_a_qcow2(tmp_path: Path) -> None:
    data = ext4()
    with Qcow2(tmp_path / "web.qcow2", len(data)) as disk:
        disk.write(0, [data])
    assert got(tmp_path / "web.qcow2") == 0
    assert Path("baremetal-vmlinuz").read_bytes() == KERNEL


def test_a_newer_kernel_without_a_ramdisk(tmp_path: Path, capsys: Out) -> None:
    image = save(tmp_path / "disk", ext4({**FILES, "boot/vmlinuz-7.0": b"new"}))
    assert got(image) == 0
    assert Path("baremetal-vmlinuz").read_bytes() == KERNEL
    assert "kernel 7.0 is newer, but has no ramdisk" in capsys.readouterr().err


def test_a_disk_without_kernels(tmp_path: Path, capsys: Out) -> None:
    assert got(save(tmp_path / "disk", ext4({"etc/fstab": b""}))) == DiskImageError.exit_code
    err = capsys.readouterr().err
    assert "has no kernel: no vmlinuz-VERSION in /boot" in err
    assert "the disk: ext4 'cloudimg-rootfs'" in err


def test_what_is_there_stays_when_it_fails(tmp_path: Path, image: Path) -> None:
    """Both or none: the ramdisk's blocks lie beyond the end, and the kernel is whole."""
    for name in ("baremetal-vmlinuz", "baremetal-initrd"):
        Path(name).write_bytes(b"as it was")
    data = image.read_bytes()
    start = data.index(RAMDISK[:4096])
    assert start > data.index(KERNEL[:4096])
    image.write_bytes(data[: start + 4096])
    assert got(image) == DiskImageError.exit_code
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == {
        "baremetal-vmlinuz": b"as it was",
        "baremetal-initrd": b"as it was",
    }


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), UsageError.exit_code, "expected one disk image"),
        (("one", "-i", "two"), UsageError.exit_code, "expected one disk image"),
        (("one", "-o", ""), UsageError.exit_code, "prefix is empty"),
        (("nowhere",), DiskImageError.exit_code, "cannot read nowhere: No such file"),
        (("one", "-d", "nowhere"), OutputError.exit_code, "no directory nowhere"),
        (("/dev/null",), DiskImageError.exit_code, "/dev/null is no file"),
        (("..",), DiskImageError.exit_code, "is no file"),
    ],
)
def test_what_makes_no_sense(arguments: tuple[str, ...], code: int, words: str, capsys: Out) -> None:
    assert got(*arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "has no kernel"),
        (b"QFI\xfb", "ends before"),
        (b"\x1f\x8b\x08", "compressed by gzip"),
        (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
        (b'# Disk DescriptorFile\nRW 2048 FLAT "/etc/shadow" 0\n', "only says which files a disk is in"),
    ],
)
def test_files_that_are_no_disk(head: bytes, words: str, tmp_path: Path, capsys: Out) -> None:
    assert got(save(tmp_path / "file", head)) == DiskImageError.exit_code
    import re

    assert re.search(words, capsys.readouterr().err)


def test_a_vmdk_that_refers_to_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    image = save(tmp_path / "disk.vmdk", b"KDMV" + bytes(1020))
    info = {"format-specific": {"data": {"extents": [{"filename": str(image)}, {"filename": "/etc/shadow"}]}}}
    fake(tmp_path, "qemu-img", f"echo '{json.dumps(info)}'; echo \"$@\" >> {tmp_path}/log")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    assert got(image) == DiskImageError.exit_code
    assert "refers to other files: '/etc/shadow'" in capsys.readouterr().err
    assert (tmp_path / "log").read_text() == f"info --output=json -f vmdk {image}\n"


def test_a_program_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    from dibo.system import process

    monkeypatch.setattr(process, "find", lambda tool: None)
    assert got(save(tmp_path / "disk.vhdx", b"vhdxfile" + bytes(1020))) == ToolMissing.exit_code
    assert "sudo apt-get install qemu-utils" in capsys.readouterr().err
    assert got(save(tmp_path / "disk.raw", b"XFSB".ljust(1 << 20, b"\0"))) == ToolMissing.exit_code
    assert "sudo apt-get install libguestfs-tools" in capsys.readouterr().err


def test_xfs_by_guestfish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    """A guestfish that copies from a directory beside it."""
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/vmlinuz-5.14").write_bytes(KERNEL)
    (tmp_path / "boot/initramfs-5.14.img").write_bytes(RAMDISK)
    script = f"""
        echo "$@" > {tmp_path}/log
        env > {tmp_path}/environment
        while [ "$1" != -copy-out ] || [ "$2" != /boot ]; do shift; done
        cp -r {tmp_path}/boot "$3"
    """
    fake(tmp_path, "guestfish", script)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    disk = bytearray(b"XFSB".ljust(1 << 20, b"\0"))
    disk[108:112] = b"rocky"[:4]
    image = save(tmp_path / "disk.raw", bytes(disk))
    assert got(image, "--cmdline") == 0
    assert capsys.readouterr().out.splitlines()[0] == "root=LABEL=rock ro"
    assert Path("baremetal-initrd").read_bytes() == RAMDISK
    assert f"--ro --format=raw -a {image} -- run : mount-ro /dev/sda / : " in (tmp_path / "log").read_text()
    told = (tmp_path / "environment").read_text().splitlines()
    assert "LIBGUESTFS_BACKEND_SETTINGS=force_tcg" in told and "LIBGUESTFS_BACKEND=direct" in told


def test_what_the_user_told_guestfish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    fake(tmp_path, "guestfish", f"env > {tmp_path}/environment; echo no kernel >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("LIBGUESTFS_BACKEND_SETTINGS", "")
    monkeypatch.setenv("SUPERMIN_KERNEL", "/kernel")
    assert got(save(tmp_path / "disk.raw", b"XFSB".ljust(1 << 20, b"\0"))) == DiskImageError.exit_code
    told = (tmp_path / "environment").read_text().splitlines()
    assert "LIBGUESTFS_BACKEND_SETTINGS=" in told and "SUPERMIN_KERNEL=/kernel" in told
    said = capsys.readouterr().err
    assert "no kernel" in said and "libguestfs-test-tool" in said

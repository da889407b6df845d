"""A live system on an ISO image: read by xorriso, its files by osirrox, its root by the tests' reader of erofs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dibo.disk.built_in.iso import make_iso
from dibo.disk.built_in.job import ConversionJob
from dibo.errors import RootNotBootable
from dibo.formats.pe import sections
from dibo.formats.vm_disks.identity import NO_IDENTITY
from dibo.tree.node import Node
from dibo.tree.query import find
from tests.support.node_trees import Content, Program, listing
from tests.support.readers.erofs_reader import ErofsReader
from tests.support.requirements import need, unmet
from tests.support.spooled_trees import spooled
from tests.unit.boot.test_initramfs import BUSYBOX, MODULES, VERSION, root_with
from tests.unit.formats.test_pe import stub

pytestmark = pytest.mark.slow

__all__ = ["stub"]

LABEL = "DIBO_0000000000000000"
GRUB = Path("/usr/lib/grub/i386-pc")
GRUB_EFI = "usr/lib/grub/x86_64-efi/monolithic/grubx64.efi"
STUB = "usr/lib/systemd/boot/efi/linuxx64.efi.stub"


def root() -> dict[str, Content | Node]:
    entries: dict[str, Content | Node] = dict(listing(root_with(BUSYBOX)))
    (busybox,) = (content for content in BUSYBOX.values() if isinstance(content, Program))
    entries |= {"usr/bin/busybox": busybox, "etc/os-release": b'PRETTY_NAME="The web"\n'}
    return {**entries, "etc/fstab": b"LABEL=root / ext4\ntmpfs /tmp tmpfs\n"}


def grub_for_bios() -> dict[str, Content | Node]:
    if not (GRUB / "cdboot.img").is_file():
        unmet(f"no {GRUB}: install grub-pc-bin")
    return {str(path): path.read_bytes() for path in GRUB.iterdir() if path.is_file()}


def made(
    directory: Path, entries: dict[str, Content | Node], *, sign: Callable[[bytes], bytes] | None = None
) -> Path:
    need("xorriso", "osirrox")
    (directory / "scratch").mkdir(parents=True)
    target = directory / "web.iso"
    target.touch()
    make_iso(
        ConversionJob(
            target=target,
            name="web",
            architecture="amd64",
            size=0,
            identity=NO_IDENTITY,
            options={"DIBO_CMDLINE": "console=ttyS0"},
            root=spooled(entries),
            scratch=directory / "scratch",
            sign=sign,
        )
    )
    shutil.rmtree(directory / "scratch")
    return target


def extracted(iso: Path) -> dict[str, bytes]:
    out = iso.parent / "out"
    subprocess.run(["osirrox", "-indev", iso, "-extract", "/", out], check=True, capture_output=True)
    files = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    subprocess.run(["chmod", "-R", "u+w", out], check=True)
    return files


def reported(iso: Path) -> str:
    argv = [
        "xorriso",
        "-indev",
        str(iso),
        "-pvd_info",
        "-report_el_torito",
        "plain",
        "-report_system_area",
        "plain",
    ]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return " ".join((done.stdout + done.stderr).split())


def on_esp(iso: Path, name: str) -> bytes:
    """A file of the second partition, by its entry in the MBR."""
    need("mtype")
    table = iso.read_bytes()[446 + 16 : 446 + 32]
    assert table[4] == 0xEF
    at = int.from_bytes(table[8:12], "little") * 512
    argv = ["mtype", "-i", f"{iso}@@{at}", f"::{name}"]
    return subprocess.run(argv, check=True, capture_output=True).stdout


def test_bios_and_uefi(tmp_path: Path) -> None:
    iso = made(tmp_path, {**root(), **grub_for_bios(), GRUB_EFI: b"MZ grub"})
    report = reported(iso)
    assert f"Volume Id : {LABEL}" in report
    assert "1 BIOS y none 0x0000 0x00 4" in report
    assert "2 UEFI y none" in report
    assert "MBR grub2-mbr" in report
    assert "boot-info-table grub2-boot-info" in report
    files = extracted(iso)
    assert files["boot/vmlinuz"] == b"kernel"
    assert files["boot/initrd"].startswith(b"\x28\xb5\x2f\xfd")
    menu = files["boot/grub/grub.cfg"].decode()
    assert "menuentry 'The web, live' {" in menu
    options = f"root=LABEL={LABEL} loop=/live/root.erofs overlayroot=tmpfs ro console=ttyS0"
    assert f"\tlinux /boot/vmlinuz {options}\n\tinitrd /boot/initrd\n" in menu
    assert files["boot/grub/eltorito.img"].startswith((GRUB / "cdboot.img").read_bytes()[:8])
    assert on_esp(iso, "EFI/BOOT/BOOTX64.EFI") == b"MZ grub"
    assert f"--label {LABEL}" in on_esp(iso, "EFI/BOOT/grub.cfg").decode()
    assert files["EFI/debian/grub.cfg"] == on_esp(iso, "EFI/debian/grub.cfg")
    image = files["live/root.erofs"]
    tree = ErofsReader(lambda offset, size: image[offset : offset + size]).tree()
    fstab = find(tree, "/etc/fstab")
    assert fstab is not None
    assert fstab.size == len(b"tmpfs /tmp tmpfs\n")


def test_a_unified_kernel_image_where_there_is_no_grub(stub: bytes, tmp_path: Path) -> None:
    iso = made(tmp_path, {**root(), STUB: stub}, sign=lambda image: image + b"signed")
    assert "UEFI y none" in reported(iso)
    assert "BIOS y none" not in reported(iso)
    image = on_esp(iso, "EFI/BOOT/BOOTX64.EFI")
    assert image.endswith(b"signed")
    parts = sections(image)
    assert parts[".uname"] == VERSION.encode()
    assert (
        parts[".cmdline"]
        .decode()
        .startswith(f"root=LABEL={LABEL} loop=/live/root.erofs overlayroot=tmpfs ro ")
    )


def test_the_same_bytes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the user's settings of xorriso are."""
    entries = {**root(), **grub_for_bios(), GRUB_EFI: b"MZ grub"}
    monkeypatch.setenv("HOME", str(tmp_path))
    one = made(tmp_path / "one", entries)
    (tmp_path / ".xorrisorc").write_text("-publisher somebody\n")
    other = made(tmp_path / "other", entries)
    subprocess.run(["cmp", one, other], check=True)


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RootNotBootable, match="iso: the root has no kernel"):
        made(tmp_path / "kernel", {"etc/os-release": b""})
    without = {path: content for path, content in root().items() if not f"/{path}".startswith(MODULES)}
    with pytest.raises(RootNotBootable, match="no modules for its kernel"):
        made(tmp_path / "modules", without)
    with pytest.raises(RootNotBootable, match="neither GRUB nor systemd-stub"):
        made(tmp_path / "loader", root())
